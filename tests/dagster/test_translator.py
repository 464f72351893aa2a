"""Names: any legal id gives valid and distinct ones, and no translator keeps a location from loading."""

from __future__ import annotations

import re
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import parse_blueprint
from flowcraft_dagster.orchestration.catalogue import build_catalogue
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.translator import (
    FlowcraftDagsterTranslator,
    FlowcraftProps,
    make_blueprint_key,
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


@settings(max_examples=15, deadline=None)
@given(BLUEPRINTS)
def test_definitions_of_random_ids_load_and_evaluate_their_automation(blueprints: list[dict[str, Any]]) -> None:
    definitions = build_flowcraft_definitions(Flowcraft(blueprints), node_assets=True)
    dg.Definitions.validate_loadable(definitions)

    graph = definitions.get_repository_def().asset_graph
    # Raises when the lineage has a cycle.
    assert set(graph.toposorted_asset_keys) == set(graph.get_all_asset_keys())


def test_a_location_with_nested_loops_evaluates_its_automation_conditions() -> None:
    nodes = [{"id": name, "uses": "x"} for name in ("start", "a", "b")]
    nodes += [{"id": name, "uses": "loop-controller"} for name in ("outer", "inner")]
    edges = [
        {"source": "start", "target": "outer"},
        {"source": "outer", "target": "inner", "action": "continue"},
        {"source": "inner", "target": "a", "action": "continue"},
        {"source": "a", "target": "inner"},
        {"source": "inner", "target": "outer", "action": "break"},
        {"source": "outer", "target": "b", "action": "break"},
        {"source": "b", "target": "b"},
    ]

    class Eager(FlowcraftDagsterTranslator):
        def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            return spec.replace_attributes(automation_condition=dg.AutomationCondition.eager())

    app = Flowcraft([{"id": "loops", "nodes": nodes, "edges": edges}])
    definitions = build_flowcraft_definitions(app, node_assets=True, translator=Eager())
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.evaluate_automation_conditions(
            defs=definitions, instance=instance, asset_selection=dg.AssetSelection.all()
        )

    assert result.total_requested == 0
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}
    assert specs[make_node_key("loops", "inner")].metadata["leads_back_from"] == ["a"]
    assert specs[make_node_key("loops", "outer")].metadata["leads_back_from"] == ["inner"]
    assert specs[make_node_key("loops", "b")].metadata["leads_back_from"] == ["b"]


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
