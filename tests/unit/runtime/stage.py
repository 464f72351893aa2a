"""A worker and a client in virtual time, for tests of one behaviour each."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from flowcraft_dagster.app import BlueprintSource, Flowcraft
from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.conformance.nodes import nodes
from flowcraft_dagster.testing.simulation import SimulatedCluster, Weather, run_simulated

T = TypeVar("T")

OPTIONS = RuntimeOptions(
    timer_seconds=0.5, heartbeat_seconds=5, anchor_seconds=10, retry_max_seconds=2, drain_seconds=5
)


def flow(*listed: Mapping[str, Any], edges: str = "", name: str = "main") -> dict[str, Any]:
    """A blueprint; edges as ``a>b b>c``."""
    pairs = [edge.split(">") for edge in edges.split()]
    return {"id": name, "nodes": list(listed), "edges": [{"source": a, "target": b} for a, b in pairs]}


def node(name: str, uses: str, config: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    """A node of a blueprint."""
    return {"id": name, "uses": uses, "params": params, "config": dict(config or {})}


def make_app(*blueprints: BlueprintSource, **more: Callable[[NodeContext], Any]) -> Flowcraft:
    """An app with the test nodes and some more."""
    return Flowcraft(blueprints, {**nodes, **more})


def play(
    app: Flowcraft,
    story: Callable[[SimulatedCluster], Awaitable[T]],
    *,
    workers: int = 1,
    weather: Weather | None = None,
    seed: int = 0,
    skew: float = 0.0,
    **options: Any,
) -> T:
    """Run a story with a cluster in virtual time; the clocks of its workers differ by up to ``skew`` seconds."""

    async def main(clock: Any, dice: random.Random) -> T:
        settings = Settings(backend="memory", options=replace(OPTIONS, **options))
        cluster = SimulatedCluster(
            app, clock, dice, workers=workers, weather=weather, settings=settings, skew_seconds=skew
        )
        async with cluster:
            return await story(cluster)

    return run_simulated(main, seed)
