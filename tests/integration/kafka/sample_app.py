"""The app of these tests: every node writes down when it begins and ends.

Worker processes load ``app``; ``FLOWCRAFT_TEST_FOLDER`` names the folder of the record and of the switches by which a
test lets nodes go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from flowcraft_dagster import Flow, Flowcraft, Middleware, NodeContext, NodeRegistry, NodeResult
from tests.integration.kafka.record import Record

FOLDER = "FLOWCRAFT_TEST_FOLDER"
TARGET = "tests.integration.kafka.sample_app:app"
SWITCH_POLL_SECONDS = 0.02

nodes = NodeRegistry()


class WriteDown(Middleware):
    """Notes the beginning and the end of every node."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def around_node(self, ctx: NodeContext, call_next: Callable[[], Awaitable[NodeResult]]) -> NodeResult:
        self._record.note(ctx.run_id, ctx.activation, "begin")
        result = await call_next()
        self._record.note(ctx.run_id, ctx.activation, "end")
        return result


@nodes.node("add")
async def add(ctx: NodeContext) -> int:
    """The input plus ``params.by``; the sum of several inputs."""
    values = list(ctx.input.values()) if isinstance(ctx.input, dict) else [ctx.input]
    return sum(value for value in values if isinstance(value, int)) + int(ctx.params.get("by", 1))


@nodes.node("write")
async def write(ctx: NodeContext) -> int:
    """Sets a context key of its own, named by ``params.key``, after a moment."""
    await asyncio.sleep(ctx.params.get("seconds", 0.05))
    ctx.context.set(str(ctx.params["key"]), ctx.params["value"])
    return int(ctx.params["value"])


@nodes.node("slow")
async def slow(ctx: NodeContext) -> str:
    """Takes ``params.seconds``."""
    await asyncio.sleep(ctx.params["seconds"])
    return "slow"


@nodes.node("gate")
async def gate(ctx: NodeContext) -> str:
    """Ends once the test opens the gate; the text of the switch ``fail`` makes it raise."""
    text = await await_switch(ctx.dependencies["folder"], ctx.run_id)
    if text == "fail":
        raise RuntimeError("the gate was closed")
    return "open"


@nodes.node("choose")
async def choose(ctx: NodeContext) -> NodeResult:
    """Takes the edge with action ``yes``."""
    return NodeResult(output="yes", action="yes")


@nodes.node("die")
async def die(ctx: NodeContext) -> None:
    """Takes its process down, as a segmentation fault does."""
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()


@nodes.node("flaky")
async def flaky(ctx: NodeContext) -> str:
    """Raises until its last attempt."""
    if ctx.attempt < ctx.params["attempts"]:
        raise RuntimeError(f"attempt {ctx.attempt}")
    return f"attempt {ctx.attempt}"


async def await_switch(folder: Path, run_id: str) -> str:
    """The text that :func:`open_gate` wrote."""
    path = folder / f"gate-{run_id}"
    while not path.exists():  # noqa: ASYNC110  # the test may be another process
        await asyncio.sleep(SWITCH_POLL_SECONDS)
    return path.read_text()


def open_gate(folder: Path, run_id: str, text: str = "go") -> None:
    """Let the gates of a run end."""
    draft = folder / f"draft-{run_id}"
    draft.write_text(text)
    draft.replace(folder / f"gate-{run_id}")


def make_flows() -> list[Flow]:
    """The blueprints."""
    fan = Flow("fan").node("first", "add").node("join", "add")
    writers = Flow("writers").node("first", "add").node("join", "add")
    wide = Flow("wide").node("first", "add").node("join", "add")
    for number in range(20):
        fan.node(f"n{number}", "add", params={"by": number}).edge("first", f"n{number}").edge(f"n{number}", "join")
        writers.node(f"n{number}", "write", params={"key": f"key{number}", "value": number})
        writers.edge("first", f"n{number}").edge(f"n{number}", "join")
    for number in range(8):
        wide.node(f"n{number}", "slow", params={"seconds": 0.5}).edge("first", f"n{number}").edge(f"n{number}", "join")
    return [
        Flow("chain").node("a", "add").node("b", "add").node("c", "add").edge("a", "b").edge("b", "c"),
        Flow("diamond")
        .node("a", "add")
        .node("b", "add")
        .node("c", "add", params={"by": 10})
        .node("d", "add", inputs={"b": "b", "c": "c"})
        .edge("a", "b")
        .edge("a", "c")
        .edge("b", "d")
        .edge("c", "d"),
        Flow("gated-diamond")
        .node("a", "add")
        .node("fast", "add")
        .node("held", "gate")
        .node("d", "add", inputs={"fast": "fast"})
        .edge("a", "fast")
        .edge("a", "held")
        .edge("fast", "d")
        .edge("held", "d"),
        Flow("gated").node("a", "add").node("held", "gate").node("z", "add").edge("a", "held").edge("held", "z"),
        Flow("branches")
        .node("pick", "choose")
        .node("held", "gate")
        .node("yes", "add")
        .node("no", "add")
        .node("after", "add")
        .edge("pick", "held", action="yes")
        .edge("held", "yes")
        .edge("pick", "no", action="no")
        .edge("no", "after"),
        Flow("long").node("a", "slow", params={"seconds": 7.0}).node("b", "add").edge("a", "b"),
        Flow("flaky").node("a", "flaky", params={"attempts": 3}, max_retries=3),
        Flow("deadly").node("a", "die"),
        Flow("deadly-later").node("a", "add").node("b", "die").edge("a", "b"),
        Flow("asks").wait("ask").node("after", "add").edge("ask", "after"),
        fan,
        writers,
        wide,
    ]


def make_app(folder: Path) -> Flowcraft:
    """An app whose record and switches are in ``folder``."""
    record = Record(folder / "record.jsonl")
    flows = make_flows()
    return Flowcraft(flows, nodes, dependencies={"folder": folder}, middleware=[WriteDown(record)])


def __getattr__(name: str) -> Any:
    if name == "app":
        return make_app(Path(os.environ[FOLDER]))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
