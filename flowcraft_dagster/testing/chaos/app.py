"""The app that worker processes load: seven kinds of runs, of nodes that take their time.

``FLOWCRAFT_CHAOS_DWELL`` (seconds) is how long a node takes; ``FLOWCRAFT_CHAOS_RECORD`` names the file in which every
execution of a node writes a line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint.builder import Flow
from flowcraft_dagster.engine.node import Middleware, NodeContext, NodeResult
from flowcraft_dagster.engine.registry import NodeRegistry

TARGET: Final = "flowcraft_dagster.testing.chaos.app:app"
DWELL: Final = "FLOWCRAFT_CHAOS_DWELL"
RECORD: Final = "FLOWCRAFT_CHAOS_RECORD"
KINDS: Final = ("chain", "fan", "loop", "batch", "subflow", "wait", "sleep")
VARIANTS: Final = 5
"""Different contexts of each kind."""
SLEEP_MS: Final = 20_000

nodes = NodeRegistry()


@nodes.node("step")
async def step(ctx: NodeContext) -> int:
    """The sum of the inputs and the context's ``n``, plus one."""
    values = ctx.input.values() if isinstance(ctx.input, dict) else [ctx.input]
    return sum(value for value in values if isinstance(value, int)) + int(ctx.context.get("n", 0)) + 1


@nodes.node("count")
async def count(ctx: NodeContext) -> int:
    """One more than the context's ``count``, written back."""
    value = int(ctx.context.get("count", 0)) + 1
    ctx.context.set("count", value)
    return value


@nodes.node("square")
async def square(ctx: NodeContext) -> int:
    """The item squared."""
    return int(ctx.input) ** 2


@nodes.node("total")
async def total(ctx: NodeContext) -> int:
    """The sum of a list."""
    return sum(ctx.context.get("squares"))


class TakeTime(Middleware):
    """Makes every node take ``seconds``, and writes a line for each execution into ``record``."""

    def __init__(self, seconds: float, record: Path | None) -> None:
        self._seconds = seconds
        self._record = record

    async def around_node(self, ctx: NodeContext, call_next: Callable[[], Awaitable[NodeResult]]) -> NodeResult:
        """See ``Middleware``."""
        if self._record is not None:
            handle = os.open(self._record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # One write, so that the lines of several processes do not mix.
                os.write(handle, f"{ctx.run_id} {ctx.activation}\n".encode())
            finally:
                os.close(handle)
        await asyncio.sleep(self._seconds)
        return await call_next()


def make_flows(sleep_ms: int) -> list[Flow]:
    """A blueprint for each of ``KINDS``."""
    chain, fan = Flow("chain"), Flow("fan").node("first", "step")
    for number in range(1, 6):
        chain.node(f"s{number}", "step")
        if number > 1:
            chain.edge(f"s{number - 1}", f"s{number}")
    branches = [f"b{number}" for number in range(10)]
    for branch in branches:
        fan.node(branch, "step").edge("first", branch).edge(branch, "last")
    fan.node("last", "step", inputs={branch: branch for branch in branches})
    return [
        chain,
        fan,
        Flow("loop")
        .node("before", "step")
        .loop("again", start="count", end="count", condition="count < 4")
        .node("count", "count")
        .node("after", "step", inputs="count")
        .edge("before", "again")
        .edge("again", "after"),
        Flow("batch")
        .batch("work", "square", input_key="items", output_key="squares")
        .node("total", "total")
        .edge("work", "total"),
        Flow("subflow")
        .node("before", "step")
        .subflow("child", "chain", inputs={"n": "n"}, outputs={"result": "s5"})
        .node("after", "step", inputs="result")
        .edge("before", "child")
        .edge("child", "after"),
        Flow("wait")
        .node("before", "step")
        .wait("ask")
        .node("after", "step")
        .edge("before", "ask")
        .edge("ask", "after"),
        Flow("sleep")
        .node("before", "step")
        .sleep("rest", sleep_ms)
        .node("after", "step")
        .edge("before", "rest")
        .edge("rest", "after"),
    ]


def make_context(variant: int) -> dict[str, Any]:
    """The initial context of a variant."""
    return {"n": variant, "count": 0, "items": list(range(variant + 4))}


def make_app(dwell_seconds: float, record: Path | None, sleep_ms: int = SLEEP_MS) -> Flowcraft:
    """The app.

    Args:
        dwell_seconds: how long every node takes.
        record: where executions are written down; None for nowhere.
        sleep_ms: how long the ``sleep`` kind sleeps.
    """
    return Flowcraft(make_flows(sleep_ms), nodes, middleware=[TakeTime(dwell_seconds, record)])


def __getattr__(name: str) -> Any:
    if name == "app":
        record = os.environ.get(RECORD)
        return make_app(float(os.environ.get(DWELL, "0")), Path(record) if record else None)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
