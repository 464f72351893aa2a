"""Blueprints that are refused: every problem names blueprint, node or edge, field and reason in one line."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from flowcraft_dagster.blueprint import find_problems, parse_blueprint
from flowcraft_dagster.blueprint.json_copy import MAX_DEPTH
from flowcraft_dagster.blueprint.parse import MAX_EDGES, MAX_NODES
from flowcraft_dagster.errors import BlueprintError


def list_problems(document: object) -> list[str]:
    return [str(problem) for problem in find_problems(document)]


def with_node(**fields: Any) -> dict[str, Any]:
    """A blueprint with node ``a``, which has these fields, and node ``b``."""
    return {"id": "x", "nodes": [{"id": "a", "uses": "echo", **fields}, {"id": "b", "uses": "echo"}]}


def with_edge(**fields: Any) -> dict[str, Any]:
    """A blueprint with nodes ``a`` and ``b`` and one edge with these fields."""
    return {**with_node(), "edges": [fields]}


def with_built_in(uses: str, **params: Any) -> dict[str, Any]:
    return with_node(uses=uses, params=params)


@pytest.mark.parametrize("value", [None, [], "text", 5, 1.5, True, {1, 2}])
def test_a_blueprint_must_be_an_object(value: object) -> None:
    [problem] = find_problems(value, default_id="400")
    assert str(problem).startswith("blueprint '400': must be an object, not ")
    with pytest.raises(BlueprintError):
        parse_blueprint(value)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"nodes": []}, "blueprint '?', field 'id': is missing"),
        ({"id": "", "nodes": []}, "blueprint '?', field 'id': is missing"),
        ({"id": True, "nodes": []}, "blueprint '?', field 'id': must be text, not a boolean"),
        ({"id": float("inf"), "nodes": []}, "blueprint '?', field 'id': must be text, not a number"),
        ({"id": 10**5000, "nodes": []}, "blueprint '?', field 'id': must be text, not a number"),
        ({"id": ["x"], "nodes": []}, "blueprint '?', field 'id': must be text, not a list"),
        ({"id": "x" * 1001, "nodes": []}, "blueprint '?', field 'id': has 1001 characters; the limit is 1000"),
        ({"id": "a\ud800", "nodes": []}, "blueprint '?', field 'id': has a lone surrogate, which UTF-8 cannot hold"),
        ({"id": "x"}, "blueprint 'x', field 'nodes': is missing"),
        ({"id": "x", "nodes": None}, "blueprint 'x', field 'nodes': is missing"),
        ({"id": "x", "nodes": "n"}, "blueprint 'x', field 'nodes': must be a list or an object, not text"),
        (
            {"id": "x", "nodes": [], "edges": 3},
            "blueprint 'x', field 'edges': must be a list or an object, not a number",
        ),
        ({"id": "x", "nodes": ["n"]}, "blueprint 'x', field 'nodes[0]': must be an object, not text"),
        ({"id": "x", "nodes": {"k": None}}, "blueprint 'x', field 'nodes[0]': must be an object, not null"),
        ({"id": "x", "nodes": [{"uses": "u"}]}, "blueprint 'x', field 'nodes[0].id': is missing"),
        ({"id": "x", "nodes": [{"id": "", "uses": "u"}]}, "blueprint 'x', field 'nodes[0].id': is empty"),
        (
            {"id": "x", "nodes": [{"id": 1, "uses": "u"}]},
            "blueprint 'x', field 'nodes[0].id': must be text, not a number",
        ),
        ({"id": "x", "nodes": [{"id": "a"}]}, "blueprint 'x', node 'a', field 'uses': is missing"),
        ({"id": "x", "nodes": [{"id": "a", "uses": ""}]}, "blueprint 'x', node 'a', field 'uses': is empty"),
        ({"id": "x", "nodes": [], "metadata": []}, "blueprint 'x', field 'metadata': must be an object, not a list"),
        (
            {"id": "x", "nodes": [], "metadata": {"version": {}}},
            "blueprint 'x', field 'metadata.version': must be text or a number, not an object",
        ),
        (
            {"id": "x", "nodes": [], "metadata": {"cycleEntryPoints": ["a", 1]}},
            "blueprint 'x', field 'metadata.cycleEntryPoints': must be a list of node ids",
        ),
        (
            {"id": "x", "nodes": [{"id": "a", "uses": "u"}, {"id": "b", "uses": "u"}, {"id": "a", "uses": "v"}]},
            "blueprint 'x', node 'a', field 'id': is used by an earlier node too",
        ),
        (with_node(uses=3), "blueprint 'x', node 'a', field 'uses': must be text, not a number"),
        (with_node(params=[1]), "blueprint 'x', node 'a', field 'params': must be an object, not a list"),
        (
            with_node(inputs=["b"]),
            "blueprint 'x', node 'a', field 'inputs': must be text or an object of texts, not a list",
        ),
        (with_node(inputs={"k": 1}), "blueprint 'x', node 'a', field 'inputs.k': must be text, not a number"),
        (with_node(inputs={"k": None}), "blueprint 'x', node 'a', field 'inputs.k': must be text, not null"),
        (with_node(inputs={1: "b"}), "blueprint 'x', node 'a', field 'inputs': must have text keys only"),
        (
            with_node(inputs={"\udc00": "b"}),
            "blueprint 'x', node 'a', field 'inputs': has a lone surrogate in a key, which UTF-8 cannot hold",
        ),
        (with_node(config="fast"), "blueprint 'x', node 'a', field 'config': must be an object, not text"),
    ],
)
def test_a_wrong_document_is_refused(document: object, expected: str) -> None:
    assert list_problems(document) == [expected]


@pytest.mark.parametrize(
    ("config", "field", "reason"),
    [
        ({"maxRetries": "3"}, "maxRetries", "must be a number, not text"),
        ({"maxRetries": True}, "maxRetries", "must be a number, not a boolean"),
        ({"maxRetries": 1.5}, "maxRetries", "must be a whole number"),
        ({"maxRetries": float("nan")}, "maxRetries", "must be a finite number"),
        ({"maxRetries": 2**31}, "maxRetries", "must be from -2147483647 to 2147483647"),
        ({"retryDelay": -1}, "retryDelay", "must be from 0 to 315360000000"),
        ({"retryDelay": []}, "retryDelay", "must be a number, not a list"),
        ({"retryBackoff": -0.5}, "retryBackoff", "must be from 0 to 1000000"),
        ({"retryBackoff": float("inf")}, "retryBackoff", "must be a finite number"),
        ({"retryMaxDelay": {}}, "retryMaxDelay", "must be a number, not an object"),
        ({"timeout": -100}, "timeout", "must be from 0 to 315360000000"),
        ({"timeout": 1e300}, "timeout", "must be from 0 to 315360000000"),
        ({"timeout": 10**400}, "timeout", "must be from 0 to 315360000000"),
        ({"joinStrategy": "some"}, "joinStrategy", "must be 'all' or 'any'"),
        ({"joinStrategy": []}, "joinStrategy", "must be 'all' or 'any'"),
        ({"fallback": 7}, "fallback", "must be text, not a number"),
        ({"fallback": "nosuch"}, "fallback", "there is no node 'nosuch'"),
        ({"fallback": "a"}, "fallback", "a node cannot be its own fallback, not even by way of others"),
    ],
)
def test_a_wrong_config_is_refused(config: dict[str, Any], field: str, reason: str) -> None:
    assert list_problems(with_node(config=config)) == [f"blueprint 'x', node 'a', field 'config.{field}': {reason}"]


def test_fallbacks_in_a_circle_are_refused_and_a_chain_is_not() -> None:
    follows = {"a": "b", "b": "c", "c": "d", "d": "b"}
    nodes = [{"id": name, "uses": "u", "config": {"fallback": other}} for name, other in follows.items()]
    assert [problem.node_id for problem in find_problems({"id": "x", "nodes": nodes})] == ["b", "c", "d"]
    nodes[3] = {"id": "d", "uses": "u"}
    assert find_problems({"id": "x", "nodes": nodes}) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**with_node(), "edges": ["e"]}, "blueprint 'x', field 'edges[0]': must be an object, not text"),
        (with_edge(target="a"), "blueprint 'x', field 'edges[0].source': is missing"),
        (with_edge(source="a", target=""), "blueprint 'x', field 'edges[0].target': is empty"),
        (with_edge(source="a", target=2), "blueprint 'x', field 'edges[0].target': must be text, not a number"),
        (
            with_edge(source="z", target="a"),
            "blueprint 'x', edge 'z -> a', field 'edges[0].source': there is no node 'z'",
        ),
        (
            with_edge(source="a", target="z"),
            "blueprint 'x', edge 'a -> z', field 'edges[0].target': there is no node 'z'",
        ),
        (
            with_edge(source="a", target="b", action=True),
            "blueprint 'x', edge 'a -> b', field 'edges[0].action': must be text, not a boolean",
        ),
        (
            with_edge(source="a", target="b", condition={}),
            "blueprint 'x', edge 'a -> b', field 'edges[0].condition': must be text, not an object",
        ),
        (
            with_edge(source="a", target="b", transform=1),
            "blueprint 'x', edge 'a -> b', field 'edges[0].transform': must be text, not a number",
        ),
    ],
)
def test_a_wrong_edge_is_refused(document: object, expected: str) -> None:
    assert list_problems(document) == [expected]


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (with_built_in("subflow"), "params.blueprintId", "is missing"),
        (with_built_in("SubflowNode", blueprintId=""), "params.blueprintId", "is empty"),
        (with_built_in("subflow", blueprintId=False), "params.blueprintId", "must be text, not a boolean"),
        (
            with_built_in("subflow", blueprintId="y", inputs={"k": ["a", "b"]}),
            "params.inputs.k",
            "must be text, not a list",
        ),
        (with_built_in("subflow", blueprintId="y", outputs="k"), "params.outputs", "must be an object, not text"),
        (with_built_in("batch-scatter", gatherNodeId="b"), "params.workerUsesKey", "is missing"),
        (with_built_in("batch-scatter", workerUsesKey="w"), "params.gatherNodeId", "is missing"),
        (with_built_in("batch-scatter", workerUsesKey="w", gatherNodeId=""), "params.gatherNodeId", "is empty"),
        (
            with_built_in("batch-scatter", workerUsesKey="w", gatherNodeId="z"),
            "params.gatherNodeId",
            "there is no node 'z'",
        ),
        (
            with_built_in("batch-scatter", workerUsesKey="w", gatherNodeId="b", chunkSize=0),
            "params.chunkSize",
            "must be from 1 to 2147483647",
        ),
        (
            with_built_in("batch-scatter", workerUsesKey="w", gatherNodeId="b", chunkSize="2"),
            "params.chunkSize",
            "must be a number, not text",
        ),
        (
            with_built_in("batch-scatter", workerUsesKey="w", gatherNodeId="b", outputKey=5),
            "params.outputKey",
            "must be text, not a number",
        ),
        (with_built_in("batch-gather", gatherNodeId=5), "params.gatherNodeId", "must be text, not a number"),
        (with_built_in("batch-gather", outputKey=5), "params.outputKey", "must be text, not a number"),
        (
            {
                **with_built_in("loop-controller", condition=5),
                "edges": [{"source": "a", "target": "b", "action": "continue"}],
            },
            "params.condition",
            "must be text, not a number",
        ),
    ],
)
def test_wrong_parameters_of_a_built_in_kind_are_refused(document: object, field: str, reason: str) -> None:
    assert list_problems(document) == [f"blueprint 'x', node 'a', field '{field}': {reason}"]


def test_a_loop_needs_a_continue_edge() -> None:
    document = with_built_in("loop-controller", condition="x")
    document["edges"] = [{"source": "a", "target": "b", "action": "break"}]
    assert list_problems(document) == [
        "blueprint 'x', node 'a': a loop needs an edge with action 'continue' to its first node"
    ]


class Colour:
    """Something that is not JSON."""


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        ({"k": [1, float("nan")]}, "params.k[1]", "a value of type float is not JSON (it is nan)"),
        ({"k": {"l": float("-inf")}}, "params.k.l", "a value of type float is not JSON (it is -inf)"),
        ({"k": Colour()}, "params.k", "a value of type Colour is not JSON"),
        ({"k": b"bytes"}, "params.k", "a value of type bytes is not JSON"),
        ({"k": {5: 1}}, "params.k", "a value of type dict is not JSON (its key 5 is not text)"),
        ({"k": "\ud800"}, "params.k", "a value of type str is not JSON (it has a lone surrogate)"),
        ({"\udfff": 1}, "params", "a value of type str is not JSON (it has a lone surrogate)"),
        ({"k": 2**64}, "params.k", "a value of type int is not JSON (it needs more than 64 bits)"),
        ({"k": -(2**63) - 1}, "params.k", "a value of type int is not JSON (it needs more than 64 bits)"),
    ],
)
def test_parameters_must_be_json(params: dict[Any, Any], field: str, reason: str) -> None:
    assert list_problems(with_node(params=params)) == [f"blueprint 'x', node 'a', field '{field}': {reason}"]
    [problem] = find_problems({"id": "x", "nodes": [], "metadata": params})
    assert problem.field == field.replace("params", "metadata")


def test_numbers_of_64_bits_are_kept() -> None:
    params = {"least": -(2**63), "most": 2**64 - 1}
    assert parse_blueprint(with_node(params=params)).nodes[0].params == params


def test_parameters_that_contain_themselves_or_are_too_deep_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    [problem] = list_problems(with_node(params={"k": endless}))
    assert problem.endswith(f"is not JSON (deeper than {MAX_DEPTH} levels)")
    assert len(problem) < 500
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    blueprint = parse_blueprint(with_node(params={"k": deep}))
    assert len(blueprint.content_hash) == 64
    assert len(find_problems(with_node(params={"k": [deep]}))) == 1


def test_too_many_nodes_or_edges_are_refused() -> None:
    node = {"id": "a", "uses": "u"}
    assert list_problems({"id": "x", "nodes": [node] * (MAX_NODES + 1)}) == [
        "blueprint 'x', field 'nodes': has 10001 entries; the limit is 10000"
    ]
    edge = {"source": "a", "target": "a"}
    assert list_problems({"id": "x", "nodes": [node], "edges": [edge] * (MAX_EDGES + 1)}) == [
        "blueprint 'x', field 'edges': has 100001 entries; the limit is 100000"
    ]
    nodes = [{"id": f"n{index}", "uses": "u"} for index in range(MAX_NODES)]
    assert len(parse_blueprint({"id": "x", "nodes": nodes}).nodes) == MAX_NODES


def test_all_problems_are_found_and_the_first_is_raised() -> None:
    document = {
        "id": "x",
        "nodes": [
            {"id": "a", "params": 1, "config": {"timeout": "1", "maxRetries": 1.5}},
            {},
            {"id": "a", "uses": "u"},
        ],
        "edges": [{"source": "a", "target": "q", "action": 1}, {"source": 1}],
    }
    problems = find_problems(document)
    assert [(problem.node_id, problem.edge, problem.field) for problem in problems] == [
        ("a", None, "uses"),
        ("a", None, "params"),
        ("a", None, "config.maxRetries"),
        ("a", None, "config.timeout"),
        (None, None, "nodes[1].id"),
        (None, "a -> q", "edges[0].action"),
        (None, None, "edges[1].source"),
        (None, None, "edges[1].target"),
        ("a", None, "id"),
        (None, "a -> q", "edges[0].target"),
    ]
    with pytest.raises(BlueprintError) as caught:
        parse_blueprint(document)
    assert str(caught.value) == str(problems[0]) == "blueprint 'x', node 'a', field 'uses': is missing"
    assert "flowcraft-dagster lint" in caught.value.hint


def test_an_error_is_one_line_whatever_the_ids_are() -> None:
    document = {"id": "two\nlines", "nodes": [{"id": "a\r\x1b[31m"}], "edges": [{"source": "q\n", "target": "y" * 900}]}
    problems = list_problems(document)
    assert problems[0] == r"blueprint 'two\nlines', node 'a\r\x1b[31m', field 'uses': is missing"
    assert all(problem.isprintable() and len(problem) < 800 for problem in problems)
    assert len(problems) == 3


def test_an_error_survives_a_process_border() -> None:
    [problem, *_] = find_problems(with_edge(source="a", target="z"))
    copy = pickle.loads(pickle.dumps(problem))  # noqa: S301 - made two calls earlier
    assert str(copy) == str(problem)
    assert (copy.edge, copy.field, copy.blueprint_id) == ("a -> z", "edges[0].target", "x")


def test_a_secret_in_a_parameter_is_not_shown() -> None:
    params = {"blueprintId": ["s3cret"], "password": "s3cret", "bad": {"s3cret"}}
    document = with_node(uses="subflow", params=params, config={"timeout": "s3cret", "joinStrategy": "s3cret"})
    problems = list_problems(document)
    assert len(problems) >= 3
    assert not any("s3cret" in problem for problem in problems)
