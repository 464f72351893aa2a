"""The moderation example, and small blueprints for what an operator sees: a number as id, a failure, a wait, a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples.moderation.application import BLUEPRINTS
from examples.moderation.model import choose_model
from examples.moderation.nodes import nodes
from flowcraft_dagster import Flowcraft, NodeContext


async def double(ctx: NodeContext) -> Any:
    """Twice the input."""
    return ctx.input * 2


async def parse_amount(ctx: NodeContext) -> int:
    """The input as a number; fails for words."""
    return int(ctx.input)


async def linger(ctx: NodeContext) -> None:
    """Ends when it is cancelled."""
    await asyncio.sleep(3600)


def build_app(amounts: str, folders: Iterable[Path] = ()) -> Flowcraft:
    """The app.

    Args:
        amounts: id of the blueprint that doubles an amount.
        folders: further blueprints.
    """
    kinds = {**nodes, "double": double, "parse-amount": parse_amount, "linger": linger}
    app = Flowcraft([BLUEPRINTS, *folders], kinds, dependencies={"model": choose_model()})
    app.add_blueprint(
        {
            "id": amounts,
            "nodes": [
                {"id": "read", "uses": "parse-amount", "inputs": "amount"},
                {"id": "double", "uses": "double"},
                {"id": "report", "uses": "double"},
            ],
            "edges": [{"source": "read", "target": "double"}, {"source": "double", "target": "report"}],
            "metadata": {"exampleContext": {"amount": "21"}},
        }
    )
    wait = {"id": "ask_a_person", "uses": "wait", "params": {"eventName": "approval of the amount"}}
    app.add_blueprint(
        {
            "id": "approval",
            "nodes": [wait, {"id": "double", "uses": "double"}],
            "edges": [{"source": "ask_a_person", "target": "double"}],
        }
    )
    app.add_blueprint({"id": "endless", "nodes": [{"id": "linger", "uses": "linger"}], "edges": []})
    return app


app = build_app("400")
