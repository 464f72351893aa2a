"""The app of the acceptance tests; ``partial`` lacks a node kind that ``app`` has."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.engine.registry import NodeRegistry
from flowcraft_dagster.testing.conformance.nodes import nodes as plain_nodes

BLUEPRINTS: list[dict[str, Any]] = [
    {
        "id": "chain",
        "nodes": [{"id": "a", "uses": "add", "inputs": "n"}, {"id": "b", "uses": "add"}],
        "edges": [{"source": "a", "target": "b"}],
    },
    {"id": "boom", "nodes": [{"id": "a", "uses": "fail", "params": {"message": "two\nlines"}}], "edges": []},
    {
        "id": "ask",
        "nodes": [{"id": "w", "uses": "wait"}, {"id": "yes", "uses": "echo"}, {"id": "no", "uses": "echo"}],
        "edges": [
            {"source": "w", "target": "yes", "action": "yes"},
            {"source": "w", "target": "no", "action": "no"},
        ],
    },
    {"id": "parent", "nodes": [{"id": "p", "uses": "subflow", "params": {"blueprintId": "ask"}}], "edges": []},
    {"id": "orphan", "nodes": [{"id": "p", "uses": "subflow", "params": {"blueprintId": "nowhere"}}], "edges": []},
    {
        "id": "gate",
        "nodes": [{"id": "g", "uses": "gate", "inputs": "folder"}, {"id": "after", "uses": "add"}],
        "edges": [{"source": "g", "target": "after"}],
    },
    {"id": "rare", "nodes": [{"id": "r", "uses": "rare"}], "edges": []},
    {"id": "stuck", "nodes": [{"id": "s", "uses": "stuck", "config": {"timeout": 20}}], "edges": []},
]


async def wait_at_gate(ctx: NodeContext) -> int:
    """Say that the node runs by a file, and go on once a file opens the gate."""
    folder = Path(str(ctx.input))
    (folder / f"entered-{os.getpid()}").touch()
    while not (folder / "open").exists():  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    return 1


def hold_a_thread(ctx: NodeContext) -> None:
    """Outlive the attempt's time limit, as sync code can."""
    import time

    time.sleep(3600)


def _make_nodes(*, with_rare: bool) -> NodeRegistry:
    nodes = NodeRegistry(plain_nodes)
    nodes.register("gate", wait_at_gate)
    nodes.register("stuck", hold_a_thread)
    if with_rare:
        nodes.register("rare", plain_nodes["echo"])
    return nodes


app = Flowcraft(BLUEPRINTS, _make_nodes(with_rare=True))
partial = Flowcraft(BLUEPRINTS, _make_nodes(with_rare=False))
