"""Names: any legal id gives valid and distinct ones, and no translator keeps a location from loading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import parse_blueprint
from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.orchestration.blueprint_checks import judge_blueprint
from flowcraft_dagster.orchestration.catalogue import build_catalogue
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.labels import BLUEPRINT_ID, NODE_ID
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.translator import (
    FlowcraftDagsterTranslator,
    FlowcraftNodeProps,
    FlowcraftProps,
    make_blueprint_key,
    make_freshness,
    make_node_key,
    make_op_name,
    make_owners,
    make_runtime_key,
    make_slug,
)

# Ids that are near each other are the ones that could collide.
TRICKY = st.text(alphabet="ab-_/ .0é#'\"\\\n", min_size=1, max_size=6)
IDS = st.one_of(TRICKY, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))


@given(st.sets(IDS, min_size=2, max_size=30))
def test_slugs_are_plain_and_distinct(ids: set[str]) -> None:
    for separator in "-_":
        slugs = {make_slug(id_, separator) for id_ in ids}
        assert len(slugs) == len(ids)
        assert all(re.fullmatch(rf"[A-Za-z0-9_{separator}]{{1,80}}", slug) for slug in slugs)


@pytest.mark.parametrize("separator", ["-", "_"])
def test_an_id_that_looks_like_a_slug_does_not_collide_with_it(separator: str) -> None:
    first = make_slug("a b", separator)

    assert make_slug(first, separator) != first


def test_plain_ids_stay_readable() -> None:
    assert make_blueprint_key("content-moderation") == dg.AssetKey(["flowcraft", "content-moderation"])
    assert make_blueprint_key("400") == dg.AssetKey(["flowcraft", "400"])
    assert make_op_name("blueprint", "content-moderation") == "blueprint__content__moderation"


@given(IDS, IDS)
def test_keys_of_blueprints_nodes_and_the_runtime_never_meet(blueprint_id: str, node_id: str) -> None:
    keys = {make_blueprint_key(blueprint_id), make_node_key(blueprint_id, node_id), make_runtime_key("nodes")}

    assert len(keys) == 3


@given(st.lists(st.text(min_size=1, max_size=40), max_size=5))
def test_any_owner_is_taken(owners: list[str]) -> None:
    dg.AssetSpec("x", owners=make_owners(owners))


def make_blueprint(blueprint_id: str, node_ids: list[str], edges: list[tuple[int, int]], owners: Any) -> dict[str, Any]:
    return {
        "id": blueprint_id,
        "nodes": [{"id": node_id, "uses": f"uses {node_id}"[:40]} for node_id in node_ids],
        "edges": [
            {"source": node_ids[source % len(node_ids)], "target": node_ids[target % len(node_ids)]}
            for source, target in edges
        ],
        "metadata": {"owners": owners},
    }


BLUEPRINTS = st.lists(
    st.builds(
        make_blueprint,
        IDS,
        st.lists(IDS, min_size=1, max_size=5, unique=True),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8),
        st.lists(st.text(max_size=20), max_size=2),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda blueprint: str(blueprint["id"]),
)


class Eager(FlowcraftDagsterTranslator):
    """Gives everything an automation condition."""

    def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
        return (
            super().get_asset_spec(props).replace_attributes(automation_condition=dg.AutomationCondition.eager())
        )


LONG = "ä /-" * 50


@settings(max_examples=15, deadline=None)
@example([make_blueprint(LONG, [LONG, LONG[:-1] + "_"], [(0, 1), (1, 0), (0, 0)], [LONG])])
@given(BLUEPRINTS)
def test_definitions_of_random_ids_load_and_evaluate_their_automation(blueprints: list[dict[str, Any]]) -> None:
    definitions = build_flowcraft_definitions(Flowcraft(blueprints), node_assets=True, translator=Eager())
    dg.Definitions.validate_loadable(definitions)

    graph = definitions.get_repository_def().asset_graph
    # Raises when the lineage has a cycle.
    assert set(graph.toposorted_asset_keys) == set(graph.get_all_asset_keys())
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.evaluate_automation_conditions(
            defs=definitions, instance=instance, asset_selection=dg.AssetSelection.all()
        )
    assert result.total_requested == 0
    shown = [spec for spec in definitions.resolve_all_asset_specs() if BLUEPRINT_ID in spec.metadata]
    wanted = sum(1 + len(blueprint["nodes"]) for blueprint in blueprints)
    assert len({spec.key for spec in shown}) == len(shown) == wanted
    assert len({(spec.metadata[BLUEPRINT_ID], spec.metadata.get(NODE_ID)) for spec in shown}) == wanted


LOOPS = {
    "id": "loops",
    "nodes": [
        *({"id": name, "uses": "x"} for name in ("start", "a", "b")),
        *({"id": name, "uses": "loop-controller"} for name in ("outer", "inner")),
    ],
    "edges": [
        {"source": "start", "target": "outer"},
        {"source": "outer", "target": "inner", "action": "continue"},
        {"source": "inner", "target": "a", "action": "continue"},
        {"source": "a", "target": "inner"},
        {"source": "inner", "target": "outer", "action": "break"},
        {"source": "outer", "target": "b", "action": "break"},
        {"source": "b", "target": "b"},
    ],
}


def test_a_location_with_nested_loops_evaluates_its_automation_conditions() -> None:
    inner = make_node_key("loops", "inner")

    @dg.asset(deps=[inner], automation_condition=dg.AutomationCondition.eager())
    def after_the_inner_loop() -> None:
        """What follows a node of the loop."""

    definitions = dg.Definitions.merge(
        build_flowcraft_definitions(Flowcraft([LOOPS]), node_assets=True, translator=Eager()),
        dg.Definitions(assets=[after_the_inner_loop]),
    )
    with dg.DagsterInstance.ephemeral() as instance:

        def evaluate(before: Any = None) -> Any:
            return dg.evaluate_automation_conditions(
                defs=definitions,
                instance=instance,
                asset_selection=dg.AssetSelection.all(),
                cursor=None if before is None else before.cursor,
            )

        first = evaluate()
        # What the status sensor reports when the node of the inner loop has run.
        instance.report_runless_asset_event(dg.AssetMaterialization(inner))
        second = evaluate(first)
        third = evaluate(second)

    # Dagster evaluates what it can materialize; a cycle among the others would have kept it from that.
    assert {result.key for result in first.results} == {make_blueprint_key("loops"), after_the_inner_loop.key}
    assert first.total_requested == 0
    assert second.get_num_requested(after_the_inner_loop.key) == second.total_requested == 1
    assert third.total_requested == 0


def test_what_leads_back_is_no_lineage_and_is_listed() -> None:
    definitions = build_flowcraft_definitions(Flowcraft([LOOPS]), node_assets=True)
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}

    def lineage(node_id: str) -> set[str]:
        return {dep.asset_key.path[-1] for dep in specs[make_node_key("loops", node_id)].deps}

    assert {node: lineage(node) for node in ("start", "outer", "inner", "a", "b")} == {
        "start": set(),
        "outer": {"start"},
        "inner": {"outer"},
        "a": {"inner"},
        "b": {"outer"},
    }
    for node, back in {"outer": ["inner"], "inner": ["a"], "b": ["b"]}.items():
        assert specs[make_node_key("loops", node)].metadata["leads_back_from"] == back


def two_steps(blueprint_id: str = "pair", **metadata: Any) -> dict[str, Any]:
    return {
        "id": blueprint_id,
        "nodes": [{"id": "a", "uses": "x"}, {"id": "b", "uses": "x"}],
        "edges": [{"source": "a", "target": "b"}],
        "metadata": metadata,
    }


def test_lineage_follows_the_keys_that_a_translator_gives() -> None:
    class Prefixed(FlowcraftDagsterTranslator):
        def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            return spec.replace_attributes(key=spec.key.with_prefix("acme"))

    catalogue = build_catalogue(Flowcraft([two_steps()]), Prefixed(), Presenter(), ["pair"])
    nodes = catalogue.entries["pair"].nodes

    assert catalogue.entries["pair"].key.path[0] == "acme"
    assert [dep.asset_key for dep in nodes["b"].deps] == [nodes["a"].key]
    assert nodes["a"].key.path[0] == "acme"


def test_a_node_that_cannot_be_shown_as_wished_becomes_a_failed_check() -> None:
    class Wrong(FlowcraftDagsterTranslator):
        def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            if not isinstance(props, FlowcraftNodeProps):
                return spec
            if props.node.id == "a":
                return spec.replace_attributes(group_name="not-a-group")
            return spec.replace_attributes(key=make_blueprint_key("pair"))

    app = Flowcraft([two_steps()])
    dg.Definitions.validate_loadable(build_flowcraft_definitions(app, translator=Wrong(), node_assets=True))
    entry = build_catalogue(app, Wrong(), Presenter(), ["pair"]).entries["pair"]

    judgement = judge_blueprint(entry)
    assert not judgement.passed
    assert "node 'a': DagsterInvalidDefinitionError" in judgement.description
    assert "node 'b': ValueError: the asset key flowcraft/pair is that of blueprint 'pair' too" in judgement.description
    assert set(entry.nodes) == {"a", "b"}


def test_a_translator_cannot_take_an_asset_of_the_runtime() -> None:
    translator = Refused(key=make_runtime_key("workers"))
    definitions = build_flowcraft_definitions(Flowcraft([two_steps()]), translator=translator)
    dg.Definitions.validate_loadable(definitions)
    entry = build_catalogue(Flowcraft([two_steps()]), translator, Presenter()).entries["pair"]

    assert "is that of the runtime's workers too" in judge_blueprint(entry).description


def test_lineage_that_would_close_a_cycle_is_left_out_and_said() -> None:
    class Circular(FlowcraftDagsterTranslator):
        def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            others = {"one": "two", "two": "one"}
            if isinstance(props, FlowcraftNodeProps):
                return spec.merge_attributes(deps=[make_blueprint_key(others[props.blueprint.id])])
            return spec.merge_attributes(
                deps=[make_blueprint_key(others[props.blueprint.id]), make_node_key(props.blueprint.id, "b")]
            )

    app = Flowcraft([two_steps("one"), two_steps("two")])
    definitions = build_flowcraft_definitions(app, translator=Circular(), node_assets=True)
    graph = definitions.get_repository_def().asset_graph
    entries = build_catalogue(app, Circular(), Presenter(), ["one", "two"]).entries

    assert set(graph.toposorted_asset_keys) == set(graph.get_all_asset_keys())
    problems = [entry.problem for entry in entries.values() if entry.problem]
    assert problems
    assert all("would close a cycle" in problem for problem in problems)


def test_sub_blueprints_and_code_are_linked() -> None:
    def step(ctx: NodeContext) -> None:
        """A node with a place in a file."""

    subflow = {"id": "s", "uses": "subflow", "params": {"blueprintId": "child"}}
    app = Flowcraft([two_steps("child"), {"id": "parent", "nodes": [subflow]}], {"x": step})
    entries = build_catalogue(app, FlowcraftDagsterTranslator(), Presenter(), ["child", "parent"]).entries

    link: Any = entries["parent"].nodes["s"].metadata["sub_blueprint"]
    assert link.asset_key == entries["child"].key
    code: Any = entries["child"].nodes["a"].metadata["dagster/code_references"]
    (place,) = code.code_references
    assert (Path(place.file_path), place.line_number) == (Path(__file__), step.__code__.co_firstlineno)
    assert "dagster/code_references" not in entries["parent"].nodes["s"].metadata


@pytest.mark.parametrize(
    ("given", "windows"),
    [
        ({"failAfterSeconds": 3600}, (3600, None)),
        ({"failAfterSeconds": 3600, "warnAfterSeconds": 1800}, (3600, 1800)),
        ({"failAfterSeconds": 60}, (60, None)),
        ({"failAfterSeconds": 59}, None),
        ({"failAfterSeconds": 3600, "warnAfterSeconds": 3600}, None),
        ({"failAfterSeconds": "soon"}, None),
        ({"failAfterSeconds": float("nan")}, None),
        ({"failAfterSeconds": True}, None),
        ({}, None),
        ("hourly", None),
        (None, None),
    ],
)
def test_a_blueprint_says_for_how_long_it_is_fresh(given: Any, windows: tuple[int, int | None] | None) -> None:
    policy: Any = make_freshness(given)

    if windows is None:
        assert policy is None
    else:
        fail, warn = windows
        assert policy.fail_window.to_timedelta().total_seconds() == fail
        assert (policy.warn_window and policy.warn_window.to_timedelta().total_seconds()) == warn


def test_freshness_comes_from_the_blueprints_metadata() -> None:
    app = Flowcraft([two_steps(freshness={"failAfterSeconds": 3600}), two_steps("other")])
    specs = {spec.key: spec for spec in build_flowcraft_definitions(app).resolve_all_asset_specs()}

    assert specs[make_blueprint_key("pair")].freshness_policy == make_freshness({"failAfterSeconds": 3600})
    assert specs[make_blueprint_key("other")].freshness_policy is None


class Refused(FlowcraftDagsterTranslator):
    """Gives specs that Dagster does not take."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments

    def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
        return super().get_asset_spec(props).replace_attributes(**self._arguments)


class Broken(FlowcraftDagsterTranslator):
    """Fails."""

    def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
        raise KeyError(props.blueprint.id)


@pytest.mark.parametrize(
    ("translator", "problem"),
    [
        (Refused(group_name="not-a-group"), "not-a-group"),
        (Refused(owners=["no body"]), "no body"),
        (Refused(key=["flowcraft", "same"]), "is that of blueprint 'one' too"),
        (Broken(), "KeyError: 'two'"),
    ],
)
def test_a_blueprint_that_cannot_be_shown_becomes_a_failed_check(
    translator: FlowcraftDagsterTranslator, problem: str
) -> None:
    app = Flowcraft([{"id": name, "nodes": [{"id": "a", "uses": "x"}]} for name in ("one", "two")])
    app.nodes.register("x", lambda ctx: None)
    definitions = build_flowcraft_definitions(app, translator=translator)
    dg.Definitions.validate_loadable(definitions)
    catalogue = build_catalogue(app, translator, Presenter())

    found = catalogue.entries["two"].problem
    assert found is not None
    assert problem in found
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            op_selection=["flowcraft_blueprints"],
        )
    failed = [event for event in result.get_asset_check_evaluations() if not event.passed]
    assert "two" in {event.asset_key.path[-1] for event in failed}


def test_default_keys_never_take_a_translators_key() -> None:
    """`a` is shown under the default key of `b`, whose own spec is refused."""

    class Swapped(FlowcraftDagsterTranslator):
        def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            if props.blueprint.id == "a":
                return spec.replace_attributes(key=make_blueprint_key("b"))
            raise ValueError("no")

    app = Flowcraft([parse_blueprint({"id": name, "nodes": []}) for name in "ab"])
    keys = [entry.key for entry in build_catalogue(app, Swapped(), Presenter()).entries.values()]

    assert len(set(keys)) == 2


def test_no_id_is_read_as_markup() -> None:
    name = "a``b` ![x](http://example.org/x.png) *b* <img> __init__"
    blueprint = {"id": name, "nodes": [{"id": name, "uses": "unknown"}]}
    graph = build_flowcraft_definitions(Flowcraft(blueprint), node_assets=True).resolve_asset_graph()
    whole = graph.get(make_blueprint_key(name))
    description = graph.get(make_node_key(name, name)).description

    # Three backticks quote what has two.
    assert description == f"Node ``` {name} ``` of blueprint ``` {name} ```."
    assert f"Runs of the blueprint ``` {name} ```." in str(whole.description)
    lint = str(whole.metadata["lint"].value)
    assert r"a\`\`b\` \!\[x\](http://example.org/x.png) \*b\* \<img\> \_\_init\_\_" in lint
