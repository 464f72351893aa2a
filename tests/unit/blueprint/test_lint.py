"""Every code of the linter, where it must show up and where it must not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowcraft_dagster.blueprint import (
    Blueprint,
    EdgeSpec,
    LintIssue,
    LintReport,
    NodeConfig,
    NodeSpec,
    lint,
    lint_blueprint,
    parse_blueprint,
)
from flowcraft_dagster.blueprint.issues import CODES
from flowcraft_dagster.engine.expression import compile_expression
from flowcraft_dagster.errors import ExpressionError

KINDS = ["echo", "route", "worker"]


def make(nodes: dict[str, Any], edges: list[str], **metadata: Any) -> Blueprint:
    """A parsed blueprint.

    Args:
        nodes: per node its kind, or its fields; ``any`` as kind is an echo with an ``any`` join.
        edges: such as ``"a b"``, ``"a b action"`` or ``"a b action condition"``; ``-`` leaves a part out.
        metadata: the blueprint's metadata.
    """
    documents = []
    for node_id, fields in nodes.items():
        if fields == "any":
            fields = {"config": {"joinStrategy": "any"}}
        elif isinstance(fields, str):
            fields = {"uses": fields}
        documents.append({"id": node_id, "uses": "echo", **fields})
    links = []
    for text in edges:
        parts = dict(zip(("source", "target", "action", "condition"), text.split(maxsplit=3), strict=False))
        links.append({name: part for name, part in parts.items() if part != "-"})
    return parse_blueprint({"id": "b", "nodes": documents, "edges": links, "metadata": metadata})


def loop(condition: str | None = "c", **fields: Any) -> dict[str, Any]:
    return {"uses": "loop-controller", "params": {} if condition is None else {"condition": condition}, **fields}


def falls_back_on(node_id: str, uses: str = "echo") -> dict[str, Any]:
    return {"uses": uses, "config": {"fallback": node_id}}


def scatter(gather: str = "g", worker: str = "worker") -> dict[str, Any]:
    return {"uses": "batch-scatter", "params": {"workerUsesKey": worker, "gatherNodeId": gather}}


def subflow(blueprint_id: str = "child", **params: Any) -> dict[str, Any]:
    return {"uses": "subflow", "params": {"blueprintId": blueprint_id, **params}}


CHILD = make({"x": "echo"}, [])
CALLS_BACK = make({"x": subflow("b")}, [])
OTHERS = {"child": CHILD, "caller": CALLS_BACK}


def run_lint(blueprint: Blueprint) -> LintReport:
    return lint_blueprint(
        blueprint,
        node_kinds=KINDS,
        blueprints=OTHERS,
        check_expression=compile_expression,
        expression_names=lambda text: set(compile_expression(text).names),
    )


def summarize(report: LintReport) -> list[tuple[str, str | None, str | None]]:
    return [(issue.code, issue.node_id, issue.related_id) for issue in report.issues]


CLEAN: dict[str, Blueprint] = {
    "diamond": make({"a": "echo", "b": "echo", "c": "echo", "d": "echo"}, ["a b", "a c", "b d", "c d"]),
    "one node": make({"a": "echo"}, []),
    "two separate nodes": make({"a": "echo", "b": "echo"}, []),
    "built-in kinds": make(
        {
            "w": "wait",
            "W": "WaitNode",
            "s": {"uses": "sleep", "params": {"duration": "5m"}},
            "S": {"uses": "SleepNode", "params": {"duration": 0}},
            "h": "webhook",
            "H": "WebhookNode",
            "f": subflow(),
            "F": {"uses": "SubflowNode", "params": {"blueprintId": "child", "outputs": {"mine": "x"}}},
        },
        [],
    ),
    "batch": make({"s": scatter(), "g": "batch-gather", "z": "echo"}, ["s g", "g z"]),
    "batch without an edge of its own": make({"s": scatter(), "g": "batch-gather"}, []),
    "batch of waits": make({"s": scatter(worker="wait"), "g": "batch-gather"}, ["s g"]),
    "loop": make({"s": "echo", "l": loop(), "a": "echo", "z": "echo"}, ["s l", "l a continue", "a l", "l z break"]),
    "loop left without an action": make(
        {"s": "echo", "l": loop(), "a": "echo", "z": "echo"}, ["s l", "l a continue", "a l", "l z"]
    ),
    "loop left by a condition": make(
        {"s": "echo", "l": loop(), "a": "echo", "z": "echo"}, ["s l", "l a continue", "a l", "l z - c === 5"]
    ),
    "loop left by a choice in its body": make(
        {"s": "echo", "l": loop(), "a": "route", "z": "echo"}, ["s l", "l a continue", "a l again", "a z done"]
    ),
    "loop left by an action that goes before the way back": make(
        {"s": "echo", "l": loop(), "a": "route", "z": "echo"}, ["s l", "l a continue", "a l", "a z done"]
    ),
    "loop left by a condition on the way back": make(
        {"s": "echo", "l": loop(), "a": "echo"}, ["s l", "l a continue", "a l - c < 5"]
    ),
    "loop left from an inner loop": make(
        {"s": "echo", "o": loop(), "i": loop(), "a": "echo", "z": "echo"},
        ["s o", "o i continue", "i a continue", "a i", "i o break", "i z - c === 5"],
    ),
    "nested loops": make(
        {"s": "echo", "o": loop(), "a": "echo", "i": loop(), "b": "echo", "c": "echo", "z": "echo"},
        ["s o", "o a continue", "a i", "i b continue", "b i", "i c break", "c o", "o z break"],
    ),
    "exclusive branches that meet in an any join": make(
        {"r": "route", "a": "echo", "b": "echo", "j": "any"}, ["r a x", "r b y", "a j", "b j"]
    ),
    "branches by conditions": make(
        {"r": "echo", "a": "echo", "b": "echo", "j": "echo"}, ["r a - p", "r b - q", "a j", "b j"]
    ),
    "branches of one action": make(
        {"r": "route", "a": "echo", "b": "echo", "j": "echo"}, ["r a x", "r b x", "a j", "b j"]
    ),
    "two edges of one source": make({"r": "route", "j": "echo"}, ["r j x", "r j y"]),
    "a join behind exclusive branches that met": make(
        {"r": "route", "a": "echo", "b": "echo", "m": "any", "o": "echo", "j": "echo"},
        ["r a x", "r b y", "a m", "b m", "r o x", "m j", "o j"],
    ),
    "a join outside of the loop in which the branches exclude each other": make(
        {
            "s": "echo",
            "l": loop(),
            "r": "route",
            "a": "echo",
            "b": "echo",
            "m": "any",
            "z": "echo",
            "j": "echo",
        },
        ["s l", "l r continue", "r a x", "r b y", "a m", "b m", "m l", "l z break", "s j", "a j", "b j", "z j"],
    ),
    "loop whose only entries lie in its own body": make(
        {
            "s": "echo",
            "t": "echo",
            "l": loop(),
            "a": "echo",
            "m": loop(),
            "b": "echo",
            "q": "any",
            "z": "echo",
            "y": "echo",
        },
        ["s l", "l a continue", "a m", "a b", "m b continue", "b l", "b q", "t q", "q m", "l z break", "m y break"],
    ),
    "fallback that takes over the edges": make(
        {"a": falls_back_on("f"), "f": "echo", "z": "echo", "c": "echo", "j": "echo"}, ["a z", "z j", "c j"]
    ),
    "fallback with an edge to an any join": make({"a": falls_back_on("f"), "f": "echo", "j": "any"}, ["a j", "f j"]),
    "action of a sub-flow whose fallback may return it": make(
        {"a": {**subflow(), "config": {"fallback": "f"}}, "f": "route", "z": "echo"}, ["a z x"]
    ),
    "action of a wait": make({"w": "wait", "z": "echo"}, ["w z approve"]),
    "named entry of a cycle": make(
        {"l": loop(), "a": "echo", "z": "echo"}, ["l a continue", "a l", "l z break"], cycleEntryPoints=["l"]
    ),
    "names that conditions know": make(
        {"a": "echo", "b": "echo"}, ["a b - result.output === undefined || context.x > 1 || a.y || other"]
    ),
}


@pytest.mark.parametrize("blueprint", CLEAN.values(), ids=CLEAN)
def test_nothing_is_found_where_nothing_is_wrong(blueprint: Blueprint) -> None:
    report = run_lint(blueprint)
    assert report.issues == ()
    assert report.is_valid


FOUND: dict[str, tuple[Blueprint, list[tuple[str, str | None, str | None]]]] = {
    "unregistered kind": (make({"a": "nosuch"}, []), [("MISSING_NODE_IMPLEMENTATION", "a", None)]),
    "unregistered worker": (
        make({"s": scatter(worker="nosuch"), "g": "batch-gather"}, ["s g"]),
        [("INVALID_BATCH_WORKER_KEY", "s", None)],
    ),
    "worker that needs parameters": (
        make({"s": scatter(worker="subflow"), "g": "batch-gather"}, ["s g"]),
        [("INVALID_BATCH_WORKER_KEY", "s", None)],
    ),
    "gather of another kind": (
        make({"s": scatter("z"), "z": "echo"}, ["s z"]),
        [("INVALID_BATCH_GATHER", "s", "z")],
    ),
    "gather of two scatters": (
        make({"s": scatter(), "t": scatter(), "g": "batch-gather"}, ["s g", "t g"]),
        [("INVALID_BATCH_GATHER", "t", "g")],
    ),
    "gather of none": (make({"g": "batch-gather"}, []), [("INVALID_BATCH_GATHER", "g", None)]),
    "unknown sub-flow": (make({"a": subflow("nosuch")}, []), [("INVALID_SUBFLOW_BLUEPRINT_ID", "a", "nosuch")]),
    "sub-flow of itself": (make({"a": subflow("b")}, []), [("SUBFLOW_RECURSION", "a", "b")]),
    "sub-flow that leads back": (make({"a": subflow("caller")}, []), [("SUBFLOW_RECURSION", "a", "caller")]),
    "reserved key of the child": (
        make({"a": subflow(outputs={"fine": "x", "k": "_outputs.x"})}, []),
        [("RESERVED_SUBFLOW_OUTPUT", "a", None)],
    ),
    "reserved key of the parent": (
        make({"a": subflow(outputs={"_inputs.z": "x"})}, []),
        [("RESERVED_SUBFLOW_OUTPUT", "a", None)],
    ),
    "sleep without duration": (make({"a": "sleep"}, []), [("INVALID_SLEEP_DURATION", "a", None)]),
    "sleep of more than a hundred years": (
        make({"a": {"uses": "sleep", "params": {"duration": "99999999999d"}}}, []),
        [("INVALID_SLEEP_DURATION", "a", None)],
    ),
    "no attempts": (make({"a": {"config": {"maxRetries": 0}}}, []), [("NO_ATTEMPTS", "a", None)]),
    "loop without condition": (
        make({"s": "echo", "l": loop(None), "a": "echo", "z": "echo"}, ["s l", "l a continue", "a l", "l z break"]),
        [("LOOP_WITHOUT_CONDITION", "l", None)],
    ),
    "fallback of a wait": (
        make({"a": falls_back_on("f", "wait"), "f": "echo"}, []),
        [("UNUSED_FALLBACK", "a", "f")],
    ),
    "edge into a fallback": (
        make({"a": falls_back_on("f"), "f": "echo", "z": "echo"}, ["a z", "z f"]),
        [("EDGE_INTO_FALLBACK", "f", "z")],
    ),
    "equal edges": (
        make({"a": "echo", "z": "echo"}, ["a z x", "a z x", "a z y"]),
        [("DUPLICATE_EDGE", "a", "z")],
    ),
    "action of a sub-flow": (make({"a": subflow(), "z": "echo"}, ["a z x"]), [("ACTION_NEVER_RETURNED", "a", "z")]),
    "strange action of a loop": (
        make(
            {"s": "echo", "l": loop(), "a": "echo", "z": "echo"},
            ["s l", "l a continue", "a l", "l z break", "l z x", "l z y c"],
        ),
        [("ACTION_NEVER_RETURNED", "l", "z")],
    ),
    "reserved ids": (
        make({"_a": "echo", "context": "echo", "blueprintId": "echo"}, []),
        [("RESERVED_NODE_ID", node_id, None) for node_id in ("_a", "context", "blueprintId")],
    ),
    "unreadable expressions": (
        parse_blueprint(
            {
                "id": "b",
                "nodes": [
                    {"id": "s", "uses": "echo"},
                    {"id": "l", "uses": "loop-controller", "params": {"condition": "1 +"}},
                    {"id": "a", "uses": "echo"},
                ],
                "edges": [
                    {"source": "s", "target": "l"},
                    {"source": "l", "target": "a", "action": "continue", "condition": "f(1)"},
                    {"source": "a", "target": "l", "transform": "["},
                    {"source": "l", "target": "s", "action": "break", "transform": ""},
                ],
            }
        ),
        [
            ("INVALID_EXPRESSION", "l", None),
            ("INVALID_EXPRESSION", "l", "a"),
            ("INVALID_EXPRESSION", "a", "l"),
            ("ORPHAN_NODE", "s", None),
            ("ORPHAN_NODE", "l", None),
            ("ORPHAN_NODE", "a", None),
            ("CYCLE_WITHOUT_CONTROLLER", "s", None),
        ],
    ),
    "names that are not known": (
        parse_blueprint(
            {
                "id": "b",
                "nodes": [{"id": "a", "uses": "echo"}, {"id": "z", "uses": "echo"}],
                "edges": [{"source": "a", "target": "z", "condition": "input.x > 1", "transform": "a + input + y"}],
            }
        ),
        [("UNKNOWN_NAME", "a", "z")] * 3,
    ),
    "orphans": (
        make({"s": "echo", "a": "echo", "b": "echo", "c": "echo"}, ["a b", "b a", "b c"]),
        [
            ("ORPHAN_NODE", "a", None),
            ("ORPHAN_NODE", "b", None),
            ("ORPHAN_NODE", "c", None),
            ("CYCLE_WITHOUT_CONTROLLER", "a", None),
        ],
    ),
    "a cycle and nothing else": (
        make({"a": "echo", "b": "echo"}, ["a b", "b a"]),
        [("ORPHAN_NODE", "a", None), ("ORPHAN_NODE", "b", None), ("CYCLE_WITHOUT_CONTROLLER", "a", None)],
    ),
    "a cycle with a named entry": (
        make({"a": "echo", "b": "echo"}, ["a b", "b a"], cycleEntryPoints=["b", "nosuch"]),
        [("UNKNOWN_CYCLE_ENTRY", None, "nosuch"), ("CYCLE_WITHOUT_CONTROLLER", "a", None)],
    ),
    "no nodes": (make({}, []), [("EMPTY_BLUEPRINT", None, None)]),
    "cycle by way of a fallback": (
        make({"s": "echo", "a": falls_back_on("f"), "f": "echo", "z": "echo"}, ["s a", "a z", "z a"]),
        [("CYCLE_WITHOUT_CONTROLLER", "a", None), ("JOIN_NEVER_FIRES", "a", "z")],
    ),
    "cycle by way of the way out of a loop": (
        make({"s": "echo", "l": loop(), "a": "echo", "z": "echo"}, ["s l", "l a continue", "a l", "l z break", "z l"]),
        [("CYCLE_WITHOUT_CONTROLLER", "l", None)],
    ),
    "loop without a way out": (
        make({"s": "echo", "l": loop(), "a": "echo", "side": "echo"}, ["s l", "l a continue", "a l", "a side"]),
        [("LOOP_WITHOUT_EXIT", "l", None)],
    ),
    "loop with a side branch only": (
        make({"s": "echo", "l": loop(), "a": "echo", "side": "echo"}, ["s l", "l a continue", "a l", "a side - c"]),
        [("LOOP_WITHOUT_EXIT", "l", None)],
    ),
    "outer loop without a way out": (
        make(
            {"s": "echo", "o": loop(), "i": loop(), "a": "echo"},
            ["s o", "o i continue", "i a continue", "a i", "i o break"],
        ),
        [("LOOP_WITHOUT_EXIT", "o", None)],
    ),
    "cycle by way of the fallback of a loop": (
        make(
            {"s": "echo", "l": loop(config={"fallback": "f"}), "a": "echo", "z": "echo", "f": "echo"},
            ["s l", "l a continue", "a l", "l z break", "f l"],
        ),
        [("UNUSED_FALLBACK", "l", "f"), ("CYCLE_WITHOUT_CONTROLLER", "l", None)],
    ),
    "exclusive branches of a fallback": (
        make(
            {"a": falls_back_on("f"), "f": "route", "x": "echo", "y": "echo", "j": "echo"},
            ["f x p", "f y q", "x j", "y j"],
        ),
        [("JOIN_NEVER_FIRES", "j", "f")],
    ),
    "branches of a fallback that runs once per iteration": (
        make(
            {
                "s": "echo",
                "l": loop(),
                "a": falls_back_on("f"),
                "f": "route",
                "x": "echo",
                "y": "echo",
                "j": "echo",
                "z": "echo",
            },
            ["s l", "l a continue", "a l", "l z break", "z f", "f x p", "f y q", "x j", "y j"],
        ),
        # The way out reaches the fallback, so it is outside of the loop and may choose anew each time.
        [("EDGE_INTO_FALLBACK", "f", "z")],
    ),
    "inner loop without a way out": (
        make(
            {"s": "echo", "o": loop(), "i": loop(), "a": "route", "z": "echo"},
            ["s o", "o i continue", "i a continue", "a i", "i o continue", "o z break"],
        ),
        [("LOOP_WITHOUT_EXIT", "i", None)],
    ),
    "loop without a way back": (
        make({"s": "echo", "l": loop(), "a": "echo", "z": "echo"}, ["s l", "l a continue", "l z break"]),
        [("LOOP_WITHOUT_RETURN", "l", None)],
    ),
    "exclusive branches that meet in an all join": (
        make(
            {"r": "route", "a": "echo", "b": "echo", "c": "echo", "j": "echo"},
            ["r a x", "r b y", "r c x", "a j", "b j", "c j"],
        ),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "action and default branch of one router": (
        make({"r": "route", "a": "echo", "b": "echo", "j": "echo"}, ["r a x", "r b", "a j", "b j"]),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "router itself and a branch it did not take": (
        make({"r": "route", "a": "echo", "j": "echo"}, ["r a x", "r j y", "a j"]),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "exclusive branches far apart": (
        make(
            {"r": "route", "a": "echo", "b": "echo", "c": "echo", "d": "echo", "j": "echo", "k": "echo"},
            ["r a x", "r b y", "a c", "b d", "c j", "d j", "j k"],
        ),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "three branches of which no two exclude each other": (
        make(
            {
                "r": "route",
                "x": "echo",
                "y": "echo",
                "z": "echo",
                "xy": "any",
                "yz": "any",
                "xz": "any",
                "j": "echo",
            },
            ["r x x", "r y y", "r z z", "x xy", "y xy", "y yz", "z yz", "x xz", "z xz", "xy j", "yz j", "xz j"],
        ),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "exclusive branches inside a loop": (
        make(
            {"s": "echo", "l": loop(), "r": "route", "a": "echo", "b": "echo", "j": "echo", "z": "echo"},
            ["s l", "l r continue", "r a x", "r b y", "a j", "b j", "j l", "l z break"],
        ),
        [("JOIN_NEVER_FIRES", "j", "r")],
    ),
    "an edge to itself": (
        make({"s": "echo", "j": "echo"}, ["s j", "j j"]),
        [("CYCLE_WITHOUT_CONTROLLER", "j", None), ("JOIN_NEVER_FIRES", "j", "j")],
    ),
    "a join that waits for what follows it": (
        make({"s": "echo", "j": "echo", "a": "echo"}, ["s j", "j a", "a j"]),
        [("CYCLE_WITHOUT_CONTROLLER", "j", None), ("JOIN_NEVER_FIRES", "j", "a")],
    ),
    "a join with a fallback": (
        make({"a": falls_back_on("f"), "f": "echo", "c": "echo", "j": "echo"}, ["a j", "f j", "c j"]),
        [("JOIN_WAITS_FOR_FALLBACK", "j", "f")],
    ),
    "a join with what follows a fallback": (
        make(
            {"a": falls_back_on("f"), "f": "echo", "x": "echo", "y": "echo", "j": "echo", "k": "echo"},
            ["a y", "f x", "x j", "y j", "j k"],
        ),
        [("JOIN_WAITS_FOR_FALLBACK", "j", "x")],
    ),
}


@pytest.mark.parametrize(("blueprint", "expected"), FOUND.values(), ids=FOUND)
def test_what_is_wrong_is_found(blueprint: Blueprint, expected: list[tuple[str, str | None, str | None]]) -> None:
    report = run_lint(blueprint)
    assert summarize(report) == expected
    assert report.is_valid == (report.errors == ())


def test_edges_with_unknown_ends_are_found_in_blueprints_that_were_not_parsed() -> None:
    blueprint = Blueprint("b", (NodeSpec("a", "echo"),), (EdgeSpec("x", "a"), EdgeSpec("a", "y"), EdgeSpec("p", "q")))
    assert summarize(lint_blueprint(blueprint)) == [
        ("INVALID_EDGE_SOURCE", "x", "a"),
        ("INVALID_EDGE_TARGET", "y", "a"),
        ("INVALID_EDGE_SOURCE", "p", "q"),
        ("INVALID_EDGE_TARGET", "q", "p"),
    ]


def test_blueprints_that_were_not_parsed_break_no_rule() -> None:
    nodes = (
        NodeSpec("s", "batch-scatter"),
        NodeSpec("l", "loop-controller", {"condition": 5}),
        NodeSpec("f", "subflow", config=NodeConfig(fallback="nosuch")),
    )
    codes = [issue.code for issue in lint_blueprint(Blueprint("b", nodes), node_kinds=[], blueprints={}).issues]
    assert codes == [
        "INVALID_BATCH_WORKER_KEY",
        "INVALID_BATCH_GATHER",
        "INVALID_SUBFLOW_BLUEPRINT_ID",
        "LOOP_WITHOUT_RETURN",
    ]


def test_every_code_is_tested_and_documented_with_its_severity() -> None:
    tested = {code for _, expected in FOUND.values() for code, _, _ in expected}
    assert tested | {"INVALID_EDGE_SOURCE", "INVALID_EDGE_TARGET"} == set(CODES)
    documented = re.findall(r"^([A-Z_]+) +(error|warning) ", str(lint.__doc__), flags=re.MULTILINE)
    assert documented == [(code, severity) for code, (severity, _) in CODES.items()]


def test_what_is_not_known_is_not_checked() -> None:
    blueprint = make({"a": "nosuch", "s": scatter(worker="x"), "g": "batch-gather", "f": subflow("y")}, ["s g - f("])
    assert lint_blueprint(blueprint).issues == ()


def test_an_expression_the_names_cannot_be_read_from_is_reported() -> None:
    def refuse(text: str) -> set[str]:
        raise ExpressionError("calls are not allowed", expression=text, position=1)

    report = lint_blueprint(make({"a": "echo", "z": "echo"}, ["a z - f("]), expression_names=refuse)
    assert [issue.message for issue in report.issues] == [
        "condition of edge 'a -> z': expression 'f(': calls are not allowed"
    ]


def test_messages_are_one_line_and_say_where() -> None:
    blueprint = make({"r": "route", "a\nb": "echo", "c": "echo", "j": "echo"}, [])
    edges = [EdgeSpec("r", "a\nb", "x"), EdgeSpec("r", "c", "y"), EdgeSpec("a\nb", "j"), EdgeSpec("c", "j")]
    [issue] = run_lint(Blueprint("b", blueprint.nodes, tuple(edges))).issues
    assert issue == LintIssue(
        code="JOIN_NEVER_FIRES",
        severity="warning",
        message=r"join 'j' never fires: 'a\nb', 'c' need different outcomes of 'r'",
        node_id="j",
        related_id="r",
        hint="Set config.joinStrategy to 'any', or remove the edges that exclude others.",
    )
    assert str(issue).startswith("warning JOIN_NEVER_FIRES: join 'j'")


def test_a_report_tells_errors_from_warnings() -> None:
    report = run_lint(make({"a": "nosuch", "context": "echo"}, []))
    assert [issue.code for issue in report.errors] == ["MISSING_NODE_IMPLEMENTATION"]
    assert [issue.code for issue in report.warnings] == ["RESERVED_NODE_ID"]
    assert not report.is_valid
    assert run_lint(make({"context": "echo"}, [])).is_valid


def test_a_message_does_not_list_thousands_of_nodes() -> None:
    count = 2000
    names = [f"n{index}" for index in range(count)]
    edges = [f"n{index} n{(index + 1) % count}" for index in range(count)]
    issues = run_lint(make(dict.fromkeys(names, "echo"), edges)).issues
    [cycle] = [issue for issue in issues if issue.code == "CYCLE_WITHOUT_CONTROLLER"]
    assert cycle.message.endswith("'n9' and 1990 more lie on a cycle without a loop-controller")
