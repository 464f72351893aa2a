"""The node kinds that conformance cases use."""

from __future__ import annotations

import asyncio
from typing import Any

from flowcraft_dagster.engine.node import NodeContext, NodeResult
from flowcraft_dagster.engine.registry import NodeRegistry
from flowcraft_dagster.engine.values import UNDEFINED, to_text, walk_path
from flowcraft_dagster.errors import FatalNodeError

nodes = NodeRegistry()


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


@nodes.node("echo")
async def echo(ctx: NodeContext) -> Any:
    """The input, or null."""
    return ctx.input


@nodes.node("const")
async def const(ctx: NodeContext) -> Any:
    """``params.value``."""
    return ctx.params.get("value", UNDEFINED)


@nodes.node("add")
async def add(ctx: NodeContext) -> Any:
    """The input plus ``params.by`` (default 1)."""
    return _number(ctx.input) + ctx.params.get("by", 1)


@nodes.node("concat")
async def concat(ctx: NodeContext) -> Any:
    """The input as JavaScript's text plus ``params.suffix``; nothing is empty text."""
    return ("" if ctx.input is None else to_text(ctx.input)) + to_text(ctx.params.get("suffix", UNDEFINED))


@nodes.node("pick")
async def pick(ctx: NodeContext) -> Any:
    """The context's ``params.key``, or null."""
    return ctx.context.get(ctx.params["key"])


@nodes.node("put")
async def put(ctx: NodeContext) -> Any:
    """``params.value`` if present, else the input, also written to the context's ``params.key``."""
    value = ctx.params.get("value", ctx.input)
    ctx.context.set(ctx.params["key"], value)
    return value


@nodes.node("route")
async def route(ctx: NodeContext) -> NodeResult:
    """The input; the action is ``params.action`` or the text at path ``params.by`` inside the input."""
    action = ctx.params.get("action")
    if action is None and "by" in ctx.params:
        found = walk_path(ctx.input, str(ctx.params["by"]).split("."))
        action = None if found is UNDEFINED else to_text(found)
    return NodeResult(output=ctx.input, action=action)


@nodes.node("collect")
async def collect(ctx: NodeContext) -> Any:
    """Outputs of the nodes in ``params.ids``, null where there is none."""
    return [ctx.context.get(f"_outputs.{node_id}") for node_id in ctx.params["ids"]]


@nodes.node("counter")
async def counter(ctx: NodeContext) -> Any:
    """The context's ``params.key`` plus ``params.by`` (default 1), written back."""
    value = _number(ctx.context.get(ctx.params["key"])) + ctx.params.get("by", 1)
    ctx.context.set(ctx.params["key"], value)
    return value


@nodes.node("below")
async def below(ctx: NodeContext) -> Any:
    """Whether the context's ``params.key`` is below ``params.limit``, written to ``params.flag``."""
    value = _number(ctx.context.get(ctx.params["key"])) < ctx.params["limit"]
    ctx.context.set(ctx.params["flag"], value)
    return value


@nodes.node("square")
async def square(ctx: NodeContext) -> Any:
    """The input squared."""
    return _number(ctx.input) ** 2


@nodes.node("fail")
async def fail(ctx: NodeContext) -> Any:
    """Raises ``params.message``."""
    raise RuntimeError(ctx.params.get("message", "boom"))


@nodes.node("fatal")
async def fatal(ctx: NodeContext) -> Any:
    """Raises a fatal error: no retry, no fallback."""
    raise FatalNodeError(ctx.params.get("message", "fatal"))


@nodes.node("flaky")
async def flaky(ctx: NodeContext) -> Any:
    """Raises while the attempt is at most ``params.times``, then ``params.value``."""
    if ctx.attempt <= ctx.params.get("times", 0):
        raise RuntimeError(ctx.params.get("message", f"attempt {ctx.attempt} fails"))
    return ctx.params.get("value", UNDEFINED)


@nodes.node("slow")
async def slow(ctx: NodeContext) -> Any:
    """``params.value`` after ``params.ms`` milliseconds."""
    await asyncio.sleep(ctx.params.get("ms", 0) / 1000)
    return ctx.params.get("value", UNDEFINED)


@nodes.node("dirty")
async def dirty(ctx: NodeContext) -> Any:
    """Writes ``attempt_<n>``, then does as ``flaky``."""
    ctx.context.set(f"attempt_{ctx.attempt}", True)
    return await flaky(ctx)
