"""A small app for the tests of the Dagster side: it adds, fails, waits, and takes as long as it is told."""

from __future__ import annotations

import asyncio
from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.engine.node import NodeContext, NodeResult

app = Flowcraft()


@app.node("double")
async def double(ctx: NodeContext) -> Any:
    """Twice the input."""
    return ctx.input * 2


@app.node("fail")
async def fail(ctx: NodeContext) -> Any:
    """Never succeeds."""
    raise ValueError(f"cannot read {ctx.input}")


@app.node("linger")
async def linger(ctx: NodeContext) -> Any:
    """Ends when it is cancelled."""
    await asyncio.sleep(3600)


@app.node("choose")
async def choose(ctx: NodeContext) -> NodeResult:
    """Goes left for small numbers; fails for 0."""
    if ctx.input == 0:
        raise ValueError("nothing to choose by")
    return NodeResult(ctx.input, action="left" if ctx.input < 10 else "right")


def _chain(blueprint_id: str, *uses: str, **more: Any) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [{"id": f"step{index}", "uses": kind} for index, kind in enumerate(uses, 1)]
    nodes[0]["inputs"] = "n"
    edges = [{"source": f"step{index}", "target": f"step{index + 1}"} for index in range(1, len(nodes))]
    return {"id": blueprint_id, "nodes": nodes, "edges": edges, **more}


SUM = "sum up / Grüße"
app.add_blueprint(_chain("400", "double", "double"))
app.add_blueprint(_chain(SUM, "double"))
app.add_blueprint(_chain("fails", "fail"))
_waits = _chain("waits", "wait", "double")
_waits["nodes"][0]["params"] = {"eventName": "approval"}
app.add_blueprint(_waits)
app.add_blueprint(_chain("lingers", "linger"))
app.add_blueprint({"id": "sleeps", "nodes": [{"id": "nap", "uses": "sleep", "params": {"duration": "1h"}}]})
app.add_blueprint(
    {
        "id": "branches",
        "nodes": [
            {"id": "choose", "uses": "choose", "inputs": "n"},
            {"id": "left", "uses": "double"},
            {"id": "right", "uses": "double"},
        ],
        "edges": [
            {"source": "choose", "target": "left", "action": "left"},
            {"source": "choose", "target": "right", "action": "right"},
        ],
    }
)
app.add_blueprint(
    {
        "id": "recovers",
        "nodes": [
            {"id": "risky", "uses": "fail", "inputs": "n", "config": {"fallback": "instead"}},
            {"id": "instead", "uses": "double"},
        ],
        "edges": [],
    }
)
app.add_blueprint(
    {
        "id": "asks in a sub-flow",
        "nodes": [{"id": "ask", "uses": "subflow", "params": {"blueprintId": "waits"}}],
        "edges": [],
    }
)
app.add_blueprint(
    {
        "id": "parent",
        "nodes": [
            {
                "id": "child",
                "uses": "subflow",
                "params": {"blueprintId": "400", "inputs": {"n": "n"}, "outputs": {"result": "step2"}},
            }
        ],
        "edges": [],
        "metadata": {"exampleContext": {"n": 3}},
    }
)
