"""The fluent builder: the JSON it writes, the names it gives, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import Flow, analyze_blueprint, lint_blueprint, parse_blueprint
from flowcraft_dagster.engine.expression import compile_expression, evaluate
from flowcraft_dagster.errors import BlueprintError, ExpressionError


def fetch(ctx: Any) -> Any:
    return ctx.input


async def score(ctx: Any) -> Any:
    return ctx.input


class Approve:
    def exec(self, prepared: Any, ctx: Any) -> Any:
        return prepared


def test_nodes_and_edges_are_written_in_the_order_they_were_added() -> None:
    flow = (
        Flow("review")
        .node("get", fetch, params={"url": "x"}, inputs="post")
        .node("rate", score, inputs={"text": "get.body"}, max_retries=3, retry_delay=50, timeout=1000, fallback="skip")
        .node("skip", "echo")
        .node("done", Approve, join_strategy="any", retry_backoff=2, retry_max_delay=400)
        .edge("get", "rate")
        .edge("rate", "done", action="good", condition="result.output > 1", transform="input.text")
    )
    blueprint = flow.build()
    assert blueprint.to_json() == {
        "id": "review",
        "nodes": [
            {"id": "get", "uses": "fetch", "params": {"url": "x"}, "inputs": "post"},
            {
                "id": "rate",
                "uses": "score",
                "inputs": {"text": "get.body"},
                "config": {"maxRetries": 3, "retryDelay": 50, "timeout": 1000, "fallback": "skip"},
            },
            {"id": "skip", "uses": "echo"},
            {
                "id": "done",
                "uses": "Approve",
                "config": {"retryBackoff": 2, "retryMaxDelay": 400, "joinStrategy": "any"},
            },
        ],
        "edges": [
            {"source": "get", "target": "rate"},
            {
                "source": "rate",
                "target": "done",
                "action": "good",
                "condition": "result.output > 1",
                "transform": "input.text",
            },
        ],
    }
    assert dict(flow.nodes) == {"fetch": fetch, "score": score, "Approve": Approve}


def test_a_batch_becomes_scatter_and_gather() -> None:
    flow = (
        Flow("b")
        .node("list", "const")
        .batch("squares", score, input_key="list", output_key="results", chunk_size=2)
        .node("sum", "sum")
        .edge("list", "squares")
        .edge("squares", "sum", transform="input")
    )
    assert flow.build().to_json() == {
        "id": "b",
        "nodes": [
            {"id": "list", "uses": "const"},
            {
                "id": "squares_scatter",
                "uses": "batch-scatter",
                "inputs": "list",
                "params": {
                    "workerUsesKey": "score",
                    "outputKey": "results",
                    "gatherNodeId": "squares_gather",
                    "chunkSize": 2,
                },
            },
            {
                "id": "squares_gather",
                "uses": "batch-gather",
                "params": {"outputKey": "results", "gatherNodeId": "squares_gather"},
            },
            {"id": "sum", "uses": "sum"},
        ],
        "edges": [
            {"source": "list", "target": "squares_scatter"},
            {"source": "squares_gather", "target": "sum", "transform": "input"},
            {"source": "squares_scatter", "target": "squares_gather"},
        ],
    }
    assert dict(flow.nodes) == {"score": score}


def test_a_batch_leaves_out_what_was_not_given() -> None:
    document = Flow("b").batch("all", "worker", input_key="items").build().to_json()
    assert [node["params"] for node in document["nodes"]] == [
        {"workerUsesKey": "worker", "gatherNodeId": "all_gather"},
        {"gatherNodeId": "all_gather"},
    ]


def test_a_loop_is_wired_to_its_body_and_to_what_follows() -> None:
    flow = (
        Flow("l")
        .node("start", "echo")
        .node("inner", "add")
        .loop("repeat", start="inner", end="inner", condition="n < 3")
        .node("end", "echo")
        .edge("start", "repeat")
        .edge("repeat", "end")
    )
    carried = 'context["_inputs.repeat"]'
    assert flow.build().to_json() == {
        "id": "l",
        "nodes": [
            {"id": "start", "uses": "echo"},
            {"id": "inner", "uses": "add"},
            {
                "id": "repeat",
                "uses": "loop-controller",
                "params": {"condition": "n < 3"},
                "config": {"joinStrategy": "any"},
            },
            {"id": "end", "uses": "echo"},
        ],
        "edges": [
            {"source": "repeat", "target": "end", "action": "break", "transform": carried},
            {"source": "inner", "target": "repeat"},
            {"source": "repeat", "target": "inner", "action": "continue", "transform": carried},
            {"source": "start", "target": "repeat"},
        ],
    }


def test_edges_out_of_a_loop_keep_what_they_were_given() -> None:
    flow = (
        Flow("l")
        .node("a", "echo")
        .node("special", "echo")
        .loop("repeat", start="a", end="a", condition="c")
        .edge("repeat", "special", condition="n === 5", action="out", transform="context.n")
    )
    assert flow.build().to_json()["edges"][0] == {
        "source": "repeat",
        "target": "special",
        "action": "out",
        "condition": "n === 5",
        "transform": "context.n",
    }


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"_inputs.my loop": 7}, 7),
        ({"_inputs.my loop": None, "end": "stale", "_outputs.end": "stale"}, None),
        ({}, "undefined"),
    ],
)
def test_the_loops_transforms_read_what_came_into_the_loop_last(context: dict[str, Any], expected: object) -> None:
    flow = Flow("l").node("a", "echo").node("z", "echo").loop("my loop", start="a", end="a", condition="c")
    edges = flow.edge("my loop", "z").build(check_expression=compile_expression).edges
    texts = {edge.transform for edge in edges if edge.source == "my loop"}
    assert len(texts) == 1
    value = evaluate(str(texts.pop()), {"input": "not this", "context": context}).value
    assert (value if value is None or isinstance(value, int) else "undefined") == expected


def test_bodies_of_nested_loops_get_real_inputs() -> None:
    seen: list[tuple[str, Any]] = []

    def outer(ctx: Any) -> Any:
        ctx.context.set("rounds", ctx.context.get("rounds") + 1)
        ctx.context.set("steps", 0)
        seen.append(("outer", ctx.input))
        return ctx.input * 10

    def inner(ctx: Any) -> Any:
        ctx.context.set("steps", ctx.context.get("steps") + 1)
        seen.append(("inner", ctx.input))
        return ctx.input + 1

    def after(ctx: Any) -> Any:
        seen.append(("after", ctx.input))

    flow = (
        Flow("nested")
        .node("start", fetch, inputs="number")
        .node("a", outer)
        .node("b", inner)
        .loop("step", start="b", end="b", condition="steps < 2")
        .loop("round", start="a", end="step", condition="rounds < 2")
        .node("z", after)
        .edge("start", "round")
        .edge("a", "step")
        .edge("round", "z")
    )
    app = Flowcraft([flow.build()], nodes=flow.nodes)
    assert app.run("nested", {"number": 5, "rounds": 0, "steps": 0}, timeout=30).status == "completed"
    assert seen == [
        ("outer", 5),
        ("inner", 50),
        ("inner", 51),
        ("outer", 52),
        ("inner", 520),
        ("inner", 521),
        ("after", 522),
    ]


def test_a_loop_id_with_quotes_gives_an_expression_all_the_same() -> None:
    loop_id = 'a "quoted" \\ id\n'
    edges = Flow("l").node("a", "echo").loop(loop_id, start="a", end="a", condition="c").build().edges
    scope = {"input": None, "context": {f"_inputs.{loop_id}": 5}}
    assert [evaluate(edge.transform, scope).value for edge in edges if edge.transform] == [5]


def test_an_edge_from_a_loop_to_a_batch_is_there_once() -> None:
    flow = (
        Flow("lb")
        .node("a", "echo")
        .loop("repeat", start="a", end="a", condition="c")
        .batch("each", "worker", input_key="items")
        .edge("repeat", "each")
    )
    assert flow.build().to_json()["edges"] == [
        {
            "source": "repeat",
            "target": "each_scatter",
            "action": "break",
            "transform": 'context["_inputs.repeat"]',
        },
        {"source": "a", "target": "repeat"},
        {"source": "repeat", "target": "a", "action": "continue", "transform": 'context["_inputs.repeat"]'},
        {"source": "each_scatter", "target": "each_gather"},
    ]


def test_a_batch_may_be_the_body_of_a_loop() -> None:
    flow = (
        Flow("bl")
        .node("first", "echo")
        .batch("each", "worker", input_key="items")
        .loop("repeat", start="each", end="each", condition="c")
        .node("last", "echo")
        .edge("first", "repeat")
        .edge("repeat", "last")
    )
    blueprint = flow.build()
    ends = [(edge.source, edge.target, edge.action) for edge in blueprint.edges]
    assert ends == [
        ("repeat", "last", "break"),
        ("repeat", "each_scatter", "continue"),
        ("each_gather", "repeat", None),
        ("each_scatter", "each_gather", None),
        ("first", "repeat", None),
    ]
    assert lint_blueprint(blueprint, node_kinds=["echo", "worker"]).issues == ()


def test_loops_nest() -> None:
    flow = (
        Flow("nested")
        .node("first", "echo")
        .node("a", "echo")
        .node("b", "echo")
        .loop("inner", start="b", end="b", condition="i")
        .loop("outer", start="a", end="inner", condition="o")
        .node("last", "echo")
        .edge("first", "outer")
        .edge("a", "inner")
        .edge("outer", "last")
    )
    blueprint = flow.build()
    assert [(edge.source, edge.target, edge.action) for edge in blueprint.edges] == [
        ("inner", "outer", "break"),
        ("outer", "last", "break"),
        ("b", "inner", None),
        ("inner", "b", "continue"),
        ("outer", "a", "continue"),
        ("first", "outer", None),
        ("a", "inner", None),
    ]
    assert lint_blueprint(blueprint, node_kinds=["echo"]).issues == ()


def test_edges_at_batches_come_batch_by_batch_the_incoming_ones_first() -> None:
    flow = Flow("order").node("a", "echo").node("z", "echo")
    flow.edge("a", "z").edge("two", "z").edge("one", "two").edge("a", "two").edge("a", "one")
    flow.batch("one", "w", input_key="i").batch("two", "w", input_key="i")
    assert [(edge.source, edge.target) for edge in flow.build().edges] == [
        ("a", "one_scatter"),
        ("one_gather", "two_scatter"),
        ("a", "two_scatter"),
        ("two_gather", "z"),
        ("a", "z"),
        ("one_scatter", "one_gather"),
        ("two_scatter", "two_gather"),
    ]


def test_waiting_nodes_and_sub_flows() -> None:
    flow = (
        Flow("w")
        .wait("ask", event_name="approval", params={"who": "boss"}, timeout=5)
        .wait("plain")
        .sleep("short", 250)
        .sleep("text", "5m")
        .sleep("delta", timedelta(minutes=2, microseconds=1999))
        .webhook("hook", params={"path": "x"})
        .subflow("child", "401", inputs={"user": "userId"}, outputs={"result": "summary"}, max_retries=2, timeout=9)
        .subflow("other", "402")
    )
    assert flow.build().to_json()["nodes"] == [
        {
            "id": "ask",
            "uses": "wait",
            "params": {"who": "boss", "eventName": "approval"},
            "config": {"timeout": 5},
        },
        {"id": "plain", "uses": "wait"},
        {"id": "short", "uses": "sleep", "params": {"duration": 250}},
        {"id": "text", "uses": "sleep", "params": {"duration": "5m"}},
        {"id": "delta", "uses": "sleep", "params": {"duration": 120_001}},
        {"id": "hook", "uses": "webhook", "params": {"path": "x"}},
        {
            "id": "child",
            "uses": "subflow",
            "params": {"blueprintId": "401", "inputs": {"user": "userId"}, "outputs": {"result": "summary"}},
            "config": {"maxRetries": 2, "timeout": 9},
        },
        {"id": "other", "uses": "subflow", "params": {"blueprintId": "402"}},
    ]


def test_cycle_entries_are_kept_once_each_in_order() -> None:
    flow = Flow("c").node("a", "echo").node("b", "echo").edge("a", "b").edge("b", "a")
    blueprint = flow.cycle_entry("b").cycle_entry("a").cycle_entry("b").build()
    assert blueprint.metadata == {"cycleEntryPoints": ["b", "a"]}
    assert analyze_blueprint(blueprint).entry_node_ids == ("a",)
    assert flow.build().metadata == blueprint.metadata


def test_building_twice_gives_the_same_and_a_flow_can_grow() -> None:
    flow = Flow("g").node("a", "echo").loop("l", start="a", end="a", condition="c").node("b", "echo").edge("l", "b")
    first = flow.build()
    assert flow.build() == first
    assert parse_blueprint(first.to_json()) == first
    grown = flow.batch("more", "w", input_key="i").edge("b", "more").build()
    assert len(first.nodes) == 3
    assert len(grown.nodes) == 5


def test_one_implementation_may_serve_many_nodes() -> None:
    flow = Flow("m").node("a", fetch).node("b", fetch).batch("c", fetch, input_key="x")
    assert dict(flow.nodes) == {"fetch": fetch}
    bound = Holder().run
    assert dict(Flow("m").node("a", bound).node("b", bound).nodes) == {"run": bound}


class Holder:
    def run(self, ctx: Any) -> Any:
        return ctx.input


def make_nested(value: int) -> Callable[[Any], int]:
    def nested(ctx: Any) -> int:
        return value

    return nested


def wait(ctx: Any) -> None:
    """Named like a built-in kind."""


@pytest.mark.parametrize(
    "nameless",
    [lambda ctx: 1, partial(fetch), Holder(), 5, None],
    ids=["lambda", "partial", "object", "number", "none"],
)
def test_implementations_without_a_stable_name_are_refused(nameless: Any) -> None:
    expected = (
        "blueprint 'f', node 'a', field 'uses': needs a function or class with a name of its own; "
        "register others by a name and give that"
    )
    with pytest.raises(BlueprintError) as caught:
        Flow("f").node("a", nameless)
    assert str(caught.value) == expected
    with pytest.raises(BlueprintError) as caught:
        Flow("f").batch("a", nameless, input_key="x")
    assert str(caught.value) == expected


def test_two_implementations_of_one_name_are_refused() -> None:
    flow = Flow("f").node("a", make_nested(1))
    with pytest.raises(BlueprintError) as caught:
        flow.node("b", make_nested(2))
    assert str(caught.value) == (
        "blueprint 'f', node 'b', field 'uses': another function or class of this flow is named 'nested' too; "
        "rename one"
    )
    assert [node.id for node in flow.build().nodes] == ["a"]


def test_the_name_of_a_built_in_kind_is_refused() -> None:
    with pytest.raises(BlueprintError, match="'wait' is the name of a built-in node kind"):
        Flow("f").node("a", wait)


@pytest.mark.parametrize(
    "add",
    [
        lambda flow: flow.node("a", "echo"),
        lambda flow: flow.batch("a", "w", input_key="x"),
        lambda flow: flow.loop("a", start="a", end="a", condition="c"),
        lambda flow: flow.subflow("a", "x"),
        lambda flow: flow.wait("a"),
        lambda flow: flow.sleep("a", 1),
        lambda flow: flow.webhook("a"),
        lambda flow: flow.node("each", "echo"),
        lambda flow: flow.node("each_scatter", "echo"),
        lambda flow: flow.node("each_gather", "echo"),
    ],
)
def test_an_id_is_taken_once(add: Callable[[Flow], Flow]) -> None:
    flow = Flow("f").node("a", "echo").batch("each", "w", input_key="x")
    with pytest.raises(BlueprintError, match=r"blueprint 'f', node '.*', field 'id': the id is taken already"):
        add(flow)


def test_a_flow_without_nodes_is_refused() -> None:
    with pytest.raises(BlueprintError) as caught:
        Flow("empty").build()
    assert str(caught.value) == "blueprint 'empty': has no nodes"


@pytest.mark.parametrize(("start", "end", "role"), [("x", "a", "start"), ("a", "x", "end")])
def test_a_loop_around_unknown_nodes_is_refused(start: str, end: str, role: str) -> None:
    flow = Flow("f").node("a", "echo").loop("l", start=start, end=end, condition="c")
    with pytest.raises(BlueprintError) as caught:
        flow.build()
    assert str(caught.value) == f"blueprint 'f', node 'l': the loop's {role} node 'x' is not there"


def test_what_the_parser_refuses_the_builder_refuses() -> None:
    with pytest.raises(BlueprintError, match=r"edge 'a -> z', field 'edges\[0\].target': there is no node 'z'"):
        Flow("f").node("a", "echo").edge("a", "z").build()
    with pytest.raises(BlueprintError, match=r"node 'a', field 'params.k': a value of type set is not JSON"):
        Flow("f").node("a", "echo", params={"k": {1}}).build()
    with pytest.raises(BlueprintError, match=r"field 'config.timeout': must be from 0"):
        Flow("f").node("a", "echo", timeout=-1).build()

    def refuse(text: str) -> None:
        raise ExpressionError("no", expression=text, position=0)

    with pytest.raises(BlueprintError, match="is not an expression"):
        Flow("f").node("a", "echo").edge("a", "a", condition="c").build(check_expression=refuse)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="max_retrys"):
        Flow("f").node("a", "echo", max_retrys=3)  # type: ignore[call-arg]


def test_the_implementations_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        Flow("f").node("a", fetch).nodes["fetch"] = score  # type: ignore[index]
