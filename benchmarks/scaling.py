"""Whether a node costs the same in a long run as in a short one, and under a large context as under none."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.site import Site, open_site
from flowcraft_dagster import Flowcraft, StartRequest
from flowcraft_dagster.testing.bench.usage import read_usage
from flowcraft_dagster.testing.bench.workloads import OWN_APP, VARIABLE, make_blueprint
from flowcraft_dagster.testing.conformance.nodes import nodes

SHORT, MIDDLE, LONG = 20, 200, 2000
BALLAST_BYTES = 400 * 1024
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What a node of some runs cost.

    Attributes:
        milliseconds: from the start of the first node to the end of the run, by nodes: starting is left out.
        cpu_milliseconds: processor time of the worker, by nodes; starting included.
    """

    milliseconds: float
    cpu_milliseconds: float


async def compare_sizes() -> dict[str, Any]:
    """Chains of 20, 200 and 2,000 nodes, and of 200 nodes with 400 KB of context, one run at a time, in turn."""
    names = [f"chain:{size}" for size in (SHORT, MIDDLE, LONG)]
    app = Flowcraft([make_blueprint(name) for name in names], nodes)
    ballast = {"ballast": "x" * BALLAST_BYTES}
    found: dict[str, list[NodeCost]] = {"20": [], "2000": [], "200": [], "200 with 400 KB": []}
    async with open_site(app, OWN_APP, 1, {VARIABLE: ",".join(names)}) as site:
        await _measure(site, MIDDLE, {}, 5)
        for _ in range(ROUNDS):
            # As many nodes of each, so that ticks of the processor's clock weigh alike.
            found["20"].append(await _measure(site, SHORT, {}, LONG // SHORT))
            found["2000"].append(await _measure(site, LONG, {}, 1))
            found["200"].append(await _measure(site, MIDDLE, {}, 5))
            found["200 with 400 KB"].append(await _measure(site, MIDDLE, ballast, 5))
    return {
        "ms_per_node": {name: _middle(costs, "milliseconds") for name, costs in found.items()},
        "cpu_ms_per_node": {name: _middle(costs, "cpu_milliseconds") for name, costs in found.items()},
        "long_by_short": _relate(found["2000"], found["20"], "milliseconds"),
        "long_by_short_cpu": _relate(found["2000"], found["20"], "cpu_milliseconds"),
        "ballast_by_empty": _relate(found["200 with 400 KB"], found["200"], "milliseconds"),
        "ballast_by_empty_cpu": _relate(found["200 with 400 KB"], found["200"], "cpu_milliseconds"),
    }


async def _measure(site: Site, size: int, context: dict[str, Any], runs: int) -> NodeCost:
    pids = list(site.fleet.pids.values())
    before = read_usage(pids)
    seconds = 0.0
    for _ in range(runs):
        result = await site.client.wait(await site.client.start(StartRequest(f"chain:{size}", context)), 600)
        began = min(timing.started_at for timing in result.timings)
        seconds += (result.finished_at or began) - began
    after = read_usage(pids)
    cpu = 0.0 if before is None or after is None else after.cpu_seconds - before.cpu_seconds
    return NodeCost(seconds * 1000 / (size * runs), cpu * 1000 / (size * runs))


def _middle(costs: Sequence[NodeCost], name: str) -> float:
    return float(statistics.median(getattr(cost, name) for cost in costs))


def _relate(these: Sequence[NodeCost], those: Sequence[NodeCost], name: str) -> float:
    """The median of the ratios of each round."""
    return float(statistics.median(getattr(a, name) / getattr(b, name) for a, b in zip(these, those, strict=True)))
