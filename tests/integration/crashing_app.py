"""An app with nodes that take their process down."""

from __future__ import annotations

import os
import time
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


@app.node("hold")
def hold(ctx: NodeContext) -> int:
    """Notes that it runs, and goes on until a file is there."""
    folder = Path(str(ctx.params["folder"]))
    (folder / f"began-{os.getpid()}").touch()
    while not (folder / str(ctx.params["until"])).exists():
        time.sleep(0.01)
    return os.getpid()


@app.node("write")
async def write(ctx: NodeContext) -> None:
    """Writes more than any pipe or line buffer holds."""
    for number in range(5):
        ctx.context.set(f"large-{number}", "x" * 1_000_000)


@app.node("tell")
async def tell(ctx: NodeContext) -> dict[str, object]:
    """What it sees, and where it runs."""
    ctx.context.set("written", [1, None])
    return {"input": ctx.input, "k": ctx.context.get("k"), "pid": os.getpid(), "key": ctx.idempotency_key}
