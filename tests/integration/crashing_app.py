"""An app with nodes that take their process down."""

from __future__ import annotations

import os
from pathlib import Path

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.engine.node import NodeContext

app = Flowcraft()


@app.node("crash")
def crash(ctx: NodeContext) -> None:
    """Ends the process as a segmentation fault would, until a file says that it has done so often enough."""
    deaths = Path(str(ctx.params["file"]))
    count = len(deaths.read_text(encoding="utf-8")) if deaths.exists() else 0
    if count < int(ctx.params["times"]):
        deaths.write_text("x" * (count + 1), encoding="utf-8")
        os._exit(9)


@app.node("tell")
async def tell(ctx: NodeContext) -> dict[str, object]:
    """What it sees, and where it runs."""
    ctx.context.set("written", [1, None])
    return {"input": ctx.input, "k": ctx.context.get("k"), "pid": os.getpid(), "key": ctx.idempotency_key}
