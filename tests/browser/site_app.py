"""The moderation example, and small blueprints for what an operator sees: a number as id, a failure, a wait, a loop."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.moderation.application import BLUEPRINTS
from examples.moderation.model import choose_model
from examples.moderation.nodes import nodes
from flowcraft_dagster import Flowcraft, NodeContext

app = Flowcraft(blueprints=[BLUEPRINTS], nodes=nodes, dependencies={"model": choose_model()})


@app.node("double")
async def double(ctx: NodeContext) -> Any:
    """Twice the input."""
    return ctx.input * 2


@app.node("parse-amount")
async def parse_amount(ctx: NodeContext) -> int:
    """The input as a number; fails for words."""
    return int(ctx.input)


@app.node("linger")
async def linger(ctx: NodeContext) -> None:
    """Ends when it is cancelled."""
    await asyncio.sleep(3600)


app.add_blueprint(
    {
        "id": "400",
        "nodes": [
            {"id": "read", "uses": "parse-amount", "inputs": "amount"},
            {"id": "double", "uses": "double"},
            {"id": "report", "uses": "double"},
        ],
        "edges": [{"source": "read", "target": "double"}, {"source": "double", "target": "report"}],
        "metadata": {"exampleContext": {"amount": "21"}},
    }
)
app.add_blueprint(
    {
        "id": "approval",
        "nodes": [{"id": "ask_a_person", "uses": "wait"}, {"id": "double", "uses": "double"}],
        "edges": [{"source": "ask_a_person", "target": "double"}],
    }
)
app.add_blueprint({"id": "endless", "nodes": [{"id": "linger", "uses": "linger"}], "edges": []})
