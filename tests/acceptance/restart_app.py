"""The app of the restart test: a run stands at a gate, another sleeps, a third one waits for an answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flowcraft_dagster import Flowcraft, NodeContext

app = Flowcraft()


def _note(ctx: NodeContext, what: str) -> Path:
    folder = Path(str(ctx.context.get("folder")))
    with (folder / f"{what}-{ctx.run_id}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return folder


@app.node("note")
async def note(ctx: NodeContext) -> int:
    """Leaves a line for each time it is executed."""
    _note(ctx, ctx.node_id)
    return int(str(ctx.context.get("number")))


@app.node("gate")
async def gate(ctx: NodeContext) -> int:
    """Goes on once the file ``open`` is there."""
    folder = _note(ctx, ctx.node_id)
    while not (folder / "open").exists():  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    return int(ctx.input) * 2


for blueprint_id, middle in (
    ("gated", {"id": "middle", "uses": "gate"}),
    ("answered", {"id": "middle", "uses": "wait"}),
    ("asleep", {"id": "middle", "uses": "sleep", "params": {"duration": 5000}}),
):
    app.add_blueprint(
        {
            "id": blueprint_id,
            "nodes": [{"id": "first", "uses": "note"}, middle, {"id": "last", "uses": "note"}],
            "edges": [{"source": "first", "target": "middle"}, {"source": "middle", "target": "last"}],
        }
    )
