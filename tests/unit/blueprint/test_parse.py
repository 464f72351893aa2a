"""Blueprints that are accepted, and what becomes of their fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.blueprint import (
    Blueprint,
    EdgeSpec,
    NodeConfig,
    NodeSpec,
    find_problems,
    parse_blueprint,
    read_blueprint,
    read_blueprints,
)
from flowcraft_dagster.errors import BlueprintError, ExpressionError, SizeLimitExceeded


def parse_node(**fields: Any) -> NodeSpec:
    """The only node of a blueprint, parsed."""
    return parse_blueprint({"id": "b", "nodes": [{"id": "a", "uses": "echo", **fields}]}).nodes[0]


def test_every_field_is_read() -> None:
    document = {
        "id": "order",
        "nodes": [
            {
                "id": "charge",
                "uses": "pay",
                "params": {"currency": "EUR", "steps": [1, {"a": None}]},
                "inputs": {"amount": "cart.total", "who": "user"},
                "config": {
                    "maxRetries": 3,
                    "retryDelay": 100,
                    "retryBackoff": 2.5,
                    "retryMaxDelay": 5000,
                    "timeout": 250,
                    "fallback": "refund",
                    "joinStrategy": "any",
                },
            },
            {"id": "refund", "uses": "pay_back", "inputs": "charge"},
        ],
        "edges": [
            {"source": "charge", "target": "charge", "action": "again", "condition": "x > 1", "transform": "input.y"}
        ],
        "metadata": {"version": "7", "cycleEntryPoints": ["charge"], "owner": {"team": "shop"}},
    }
    assert parse_blueprint(document) == Blueprint(
        id="order",
        nodes=(
            NodeSpec(
                id="charge",
                uses="pay",
                params={"currency": "EUR", "steps": [1, {"a": None}]},
                inputs={"amount": "cart.total", "who": "user"},
                config=NodeConfig(
                    max_retries=3,
                    retry_delay=100,
                    retry_backoff=2.5,
                    retry_max_delay=5000,
                    timeout=250,
                    fallback="refund",
                    join_strategy="any",
                ),
            ),
            NodeSpec(id="refund", uses="pay_back", inputs="charge"),
        ),
        edges=(EdgeSpec("charge", "charge", action="again", condition="x > 1", transform="input.y"),),
        metadata={"version": "7", "cycleEntryPoints": ["charge"], "owner": {"team": "shop"}},
    )
    assert parse_blueprint(document).version == "7"


def test_absent_null_and_empty_fields_take_their_defaults() -> None:
    plain = parse_node()
    assert plain == NodeSpec(id="a", uses="echo")
    assert parse_node(params=None, inputs=None, config=None) == plain
    assert parse_node(params={}, inputs="", config={}) == plain
    nulls = dict.fromkeys(["maxRetries", "retryDelay", "retryBackoff", "retryMaxDelay", "timeout", "joinStrategy"])
    assert parse_node(config={**nulls, "fallback": ""}) == plain
    assert parse_blueprint({"id": "b", "nodes": [], "edges": None, "metadata": None}) == Blueprint("b", ())


def test_an_empty_input_mapping_is_not_the_same_as_none() -> None:
    assert parse_node(inputs={}).inputs == {}


def test_unknown_fields_are_dropped() -> None:
    document = {
        "id": "b",
        "nodes": [{"id": "a", "uses": "echo", "position": {"x": 1}, "_sourceLocation": {"line": 3}}],
        "edges": [{"source": "a", "target": "a", "color": "red"}],
        "editor": {"zoom": 2},
    }
    assert parse_blueprint(document).to_json() == {
        "id": "b",
        "nodes": [{"id": "a", "uses": "echo"}],
        "edges": [{"source": "a", "target": "a"}],
    }


def test_empty_actions_and_conditions_are_absent_but_an_empty_transform_is_there() -> None:
    edge = {"source": "a", "target": "a", "action": "", "condition": "", "transform": ""}
    document = {"id": "b", "nodes": [{"id": "a", "uses": "echo"}], "edges": [edge]}
    assert parse_blueprint(document).edges == (EdgeSpec("a", "a", transform=""),)


def test_nodes_and_edges_may_be_objects_in_javascript_key_order() -> None:
    names = ["z", "10", "2", "01", "a", "4294967295", "0"]
    document = {
        "id": "b",
        "nodes": {name: {"id": f"n{name}", "uses": "echo"} for name in names},
        "edges": {name: {"source": f"n{name}", "target": "nz"} for name in names},
    }
    blueprint = parse_blueprint(document)
    expected = ["n0", "n2", "n10", "nz", "n01", "na", "n4294967295"]
    assert [node.id for node in blueprint.nodes] == expected
    assert [edge.source for edge in blueprint.edges] == expected


@pytest.mark.parametrize(("given", "expected"), [(401, "401"), (401.0, "401"), ("401", "401"), (1.5, "1.5")])
def test_numbers_as_blueprint_ids_become_text(given: object, expected: str) -> None:
    document = {"id": given, "nodes": [{"id": "s", "uses": "subflow", "params": {"blueprintId": given}}]}
    blueprint = parse_blueprint(document)
    assert blueprint.id == expected
    assert blueprint.nodes[0].params == {"blueprintId": expected}


@pytest.mark.parametrize("own", [None, ""])
def test_the_default_id_is_for_documents_without_one(own: object) -> None:
    assert parse_blueprint({"id": own, "nodes": []}, default_id="400").id == "400"
    assert parse_blueprint({"id": "own", "nodes": []}, default_id="400").id == "own"


def test_whole_floats_count_as_integers_and_a_time_limit_of_zero_as_none() -> None:
    config = parse_node(config={"maxRetries": 3.0, "timeout": 0, "retryDelay": 0.5}).config
    assert config == NodeConfig(max_retries=3, timeout=None, retry_delay=0.5)
    assert isinstance(config.max_retries, int)


@pytest.mark.parametrize("duration", ["soon", -5, None, [], "5 m"])
def test_a_bad_sleep_duration_is_left_to_the_run(duration: object) -> None:
    document = {"id": "b", "nodes": [{"id": "s", "uses": "sleep", "params": {"duration": duration}}]}
    assert find_problems(document) == []


def test_what_is_parsed_does_not_change_with_the_document() -> None:
    params: dict[str, Any] = {"list": [1], "tuple": (1, 2)}
    document = {"id": "b", "nodes": [{"id": "a", "uses": "echo", "params": params}]}
    blueprint = parse_blueprint(document)
    params["list"].append(2)
    assert blueprint.nodes[0].params == {"list": [1], "tuple": [1, 2]}


def test_expressions_are_handed_to_the_check_once_each() -> None:
    seen: list[str] = []
    document = {
        "id": "b",
        "nodes": [
            {"id": "a", "uses": "echo", "params": {"condition": "not one"}},
            {"id": "l", "uses": "loop-controller", "params": {"condition": "loop.x"}},
        ],
        "edges": [
            {"source": "l", "target": "a", "action": "continue", "condition": "cond.x", "transform": "trans.x"},
            {"source": "a", "target": "l", "condition": "", "transform": ""},
        ],
    }
    parse_blueprint(document, check_expression=seen.append)
    assert seen == ["loop.x", "cond.x", "trans.x"]


def test_a_refused_expression_names_the_place_and_the_reason() -> None:
    def check(text: str) -> None:
        if "(" in text:
            raise ExpressionError("calls are not allowed", expression=text, position=1)

    document = {
        "id": "b",
        "nodes": [{"id": "l", "uses": "loop-controller", "params": {"condition": "f()"}}],
        "edges": [
            {"source": "l", "target": "l", "action": "continue", "condition": "g()", "transform": "h()"},
        ],
    }
    assert [str(problem) for problem in find_problems(document, check_expression=check)] == [
        "blueprint 'b', node 'l', field 'params.condition': "
        "is not an expression: expression 'f()': calls are not allowed",
        "blueprint 'b', edge 'l -> l', field 'edges[0].condition': "
        "is not an expression: expression 'g()': calls are not allowed",
        "blueprint 'b', edge 'l -> l', field 'edges[0].transform': "
        "is not an expression: expression 'h()': calls are not allowed",
    ]


def test_a_file_without_id_takes_its_name(tmp_path: Path) -> None:
    path = tmp_path / "400.json"
    path.write_text('\ufeff{"nodes": [{"id": "a", "uses": "echo"}]}', encoding="utf-8")
    assert read_blueprint(path).id == "400"
    assert read_blueprint(str(path)) == read_blueprint(path)


def test_a_folder_is_read_with_the_folders_in_it(tmp_path: Path) -> None:
    for name in ("b/2.json", "a/1.json", "3.json", ".git/4.json", "b/.hidden.json", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"nodes": []}' if path.suffix == ".json" else "text", encoding="utf-8")
    blueprints = read_blueprints(tmp_path)
    assert list(blueprints) == ["3", "1", "2"]
    assert all(blueprint.id == name for name, blueprint in blueprints.items())
    assert list(read_blueprints(tmp_path / "3.json")) == ["3"]


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"id": "same", "nodes": []}), encoding="utf-8")
    with pytest.raises(BlueprintError) as caught:
        read_blueprints(tmp_path)
    message = str(caught.value)
    assert message.startswith("blueprint 'same', field 'id': is defined twice, in '")
    assert "one.json" in message
    assert "two.json" in message


def test_a_folder_without_blueprints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BlueprintError, match=r"has no \.json file in it"):
        read_blueprints(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON: Input is a zero-length, empty document (line 1, column 1)"),
        (b'{"id": "x",\n "nodes": [}', "is not JSON: unexpected character, expected a JSON value (line 2, column 12)"),
        (b'{"nodes": [{"id": NaN}]}', "is not JSON: unexpected character, expected a JSON value (line 1, column 19)"),
        (b'{"nodes": 1e999}', "is not JSON: number is infinity when parsed as double (line 1, column 11)"),
        (b'{"id": "\\ud800", "nodes": []}', "is not JSON: no low surrogate in string (line 1, column 9)"),
        (b'{"id": "\xff"}', "is not UTF-8 text (byte 8)"),
        ('{"id": "x"}'.encode("utf-16"), "is not UTF-8 text (byte 0)"),
        (b"[" * 100_000, "is not JSON: Recursion limit reached (line 1, column 1)"),
    ],
)
def test_a_file_that_is_not_json_says_where(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(BlueprintError) as caught:
        read_blueprint(path)
    # The wording inside the colon and the bracket is the JSON library's; place and kind are ours.
    start, _, place = reason.partition(" (")
    assert str(caught.value).startswith(f"blueprint 'broken': file '{path}' {start.partition(':')[0]}")
    assert place.split(",")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(BlueprintError) as caught:
        read_blueprint(path)
    assert str(caught.value) == "blueprint 'list': must be an object, not a list"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BlueprintError, match=r"blueprint 'gone': file '.*gone.json' cannot be read: No such file"):
        read_blueprint(tmp_path / "gone.json")
    with pytest.raises(BlueprintError, match="cannot be read"):
        read_blueprint(tmp_path)
    with pytest.raises(BlueprintError, match="cannot be read"):
        read_blueprint("nul\0.json")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(SizeLimitExceeded) as caught:
        read_blueprint(path)
    assert caught.value.size == 50_000_000
    assert caught.value.limit == 10 * 1024 * 1024
    document = b'{"nodes": []}'
    path.write_bytes(document)
    assert read_blueprint(path, max_bytes=len(document)).id == "big"
    with pytest.raises(SizeLimitExceeded, match=r"has 13 bytes, over the limit of 12"):
        read_blueprint(path, max_bytes=len(document) - 1)


def test_an_endless_file_is_cut_off() -> None:
    # Its size is given as 0, so only the reading itself can tell.
    with pytest.raises(SizeLimitExceeded, match="over the limit of 1000"):
        read_blueprint("/dev/zero", max_bytes=1000)
