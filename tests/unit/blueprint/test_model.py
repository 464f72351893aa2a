"""Round trips of blueprints through JSON, and their content hash."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft_dagster import blueprint as package
from flowcraft_dagster.blueprint import (
    Blueprint,
    NodeConfig,
    analyze_blueprint,
    draw_mermaid,
    find_problems,
    lint_blueprint,
    parse_blueprint,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(bool)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=4)
times = st.none() | st.integers(0, 10**9) | st.floats(0, 1e9)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Blueprints in JSON form that must be accepted."""
    ids = draw(st.lists(names, unique=True, max_size=5))
    optional = {
        "params": st.none() | objects,
        "inputs": st.none() | texts | st.dictionaries(texts, texts, max_size=3),
        "color": json_values,
    }
    nodes = []
    for index, node_id in enumerate(ids):
        config = st.fixed_dictionaries(
            {},
            optional={
                "maxRetries": st.none() | st.integers(-5, 100),
                "retryDelay": times,
                "retryBackoff": st.none() | st.floats(0, 100),
                "retryMaxDelay": times,
                "timeout": times,
                "fallback": st.sampled_from([None, "", *ids[index + 1 :]]),
                "joinStrategy": st.sampled_from([None, "all", "any"]),
                "unknown": json_values,
            },
        )
        fixed = {"id": st.just(node_id), "uses": st.sampled_from(["echo", "wait", "sleep", "my.kind"])}
        nodes.append(draw(st.fixed_dictionaries(fixed, optional={**optional, "config": st.none() | config})))
    edge = st.fixed_dictionaries(
        {"source": st.sampled_from(ids or [""]), "target": st.sampled_from(ids or [""])},
        optional=dict.fromkeys(("action", "condition", "transform"), st.none() | texts),
    )
    metadata = st.fixed_dictionaries(
        {}, optional={"version": texts | st.integers(0, 9), "cycleEntryPoints": st.lists(texts), "other": json_values}
    )
    return {
        "id": draw(names),
        "nodes": nodes,
        "edges": draw(st.lists(edge, max_size=6)) if ids else [],
        "metadata": draw(st.none() | metadata),
    }


def reverse_keys(value: Any) -> Any:
    """The same JSON value with the members of every object the other way round."""
    if isinstance(value, dict):
        return {key: reverse_keys(item) for key, item in reversed(value.items())}
    return [reverse_keys(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(documents())
def test_a_blueprint_survives_its_json_form(document: dict[str, Any]) -> None:
    blueprint = parse_blueprint(document)
    copy = parse_blueprint(orjson.loads(orjson.dumps(blueprint.to_json())))
    assert copy == blueprint
    assert copy.to_json() == blueprint.to_json()
    assert copy.content_hash == blueprint.content_hash


@settings(max_examples=150, deadline=None, derandomize=True)
@given(documents())
def test_the_order_of_keys_does_not_change_a_blueprint(document: dict[str, Any]) -> None:
    turned = parse_blueprint(reverse_keys(document))
    assert turned == parse_blueprint(document)
    assert turned.content_hash == parse_blueprint(document).content_hash


@settings(max_examples=150, deadline=None, derandomize=True)
@given(documents())
def test_what_parses_can_be_analysed_linted_and_drawn(document: dict[str, Any]) -> None:
    blueprint = parse_blueprint(document)
    analysis = analyze_blueprint(blueprint)
    assert analysis.is_dag == (analysis.cycles == ())
    assert lint_blueprint(blueprint, node_kinds=["echo"], blueprints={}) == lint_blueprint(
        blueprint, node_kinds=["echo"], blueprints={}
    )
    assert draw_mermaid(blueprint).startswith("flowchart TD\n")


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "nodes",
                    "edges",
                    "metadata",
                    "uses",
                    "params",
                    "inputs",
                    "config",
                    "source",
                    "target",
                    "timeout",
                ]
            )
            | st.integers(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(anything | st.fixed_dictionaries({"id": names, "nodes": st.lists(anything), "edges": anything}))
def test_nothing_at_all_breaks_the_parser(document: object) -> None:
    problems = find_problems(document)
    assert all(str(problem).isprintable() for problem in problems)
    if not problems:
        assert len(parse_blueprint(document).content_hash) == 64


def test_the_hash_is_the_same_in_every_process() -> None:
    nodes = [{"id": "a", "uses": "echo", "params": {"z": 1, "a": ["é"]}}]
    blueprint = parse_blueprint({"id": "b", "nodes": nodes, "edges": [], "metadata": {}})
    assert blueprint.content_hash == "b3cd0105f966afdda10e58466f582f8b32b9095394da4575f4c62ddb065618eb"


def test_the_hash_takes_numbers_as_javascript_does() -> None:
    def hash_of(value: float) -> str:
        nodes = [{"id": "a", "uses": "echo", "params": {"k": [value]}, "config": {"timeout": abs(value)}}]
        return parse_blueprint({"id": "b", "nodes": nodes}).content_hash

    assert hash_of(1.0) == hash_of(1)
    assert hash_of(-0.0) == hash_of(0)
    assert len({hash_of(value) for value in (0, 1, 1.5, 2, 1e11)}) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"nodes": [{"id": "b", "uses": "echo"}, {"id": "a", "uses": "echo"}]},
        {"nodes": [{"id": "a", "uses": "echo"}, {"id": "b", "uses": "other"}]},
        {"nodes": [{"id": "a", "uses": "echo", "params": {"k": 1}}, {"id": "b", "uses": "echo"}]},
        {"nodes": [{"id": "a", "uses": "echo", "inputs": {}}, {"id": "b", "uses": "echo"}]},
        {"nodes": [{"id": "a", "uses": "echo", "config": {"timeout": 1}}, {"id": "b", "uses": "echo"}]},
        {"edges": [{"source": "a", "target": "b", "transform": ""}]},
        {"edges": [{"source": "a", "target": "b"}, {"source": "a", "target": "b"}]},
        {"metadata": {"version": "2"}},
    ],
)
def test_every_part_of_a_blueprint_counts_for_its_hash(change: dict[str, Any]) -> None:
    document = {
        "id": "b",
        "nodes": [{"id": "a", "uses": "echo"}, {"id": "b", "uses": "echo"}],
        "edges": [{"source": "a", "target": "b"}],
    }
    assert parse_blueprint({**document, **change}).content_hash != parse_blueprint(document).content_hash


def test_defaults_are_left_out_of_the_json_form() -> None:
    config = {"maxRetries": 1, "retryDelay": 0, "retryBackoff": 1, "joinStrategy": "all", "timeout": 0}
    nodes = [{"id": "a", "uses": "echo", "params": {}, "config": config}]
    blueprint = parse_blueprint({"id": "b", "nodes": nodes, "metadata": {}})
    assert blueprint.nodes[0].config == NodeConfig()
    assert json.dumps(blueprint.to_json()) == '{"id": "b", "nodes": [{"id": "a", "uses": "echo"}], "edges": []}'


@pytest.mark.parametrize(("version", "text"), [("1.2", "1.2"), (2, "2"), (None, None)])
def test_the_version_is_text(version: object, text: str | None) -> None:
    assert Blueprint("b", (), metadata={"version": version}).version == text


def list_modules() -> Iterable[str]:
    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("name", list_modules())
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_all_public_names_are_there() -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
