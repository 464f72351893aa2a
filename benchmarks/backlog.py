"""Ten thousand runs that sleep and ten thousand that wait in the queue: all end, and no worker grows large."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection
from typing import Any, Final

from benchmarks.site import Site, open_site
from flowcraft_dagster import AsyncClient, Flow, Flowcraft, StartRequest
from flowcraft_dagster.testing.bench.usage import read_usage
from flowcraft_dagster.testing.conformance.nodes import nodes

RUNS: Final = 10_000
SLEEP_SECONDS: Final = 60
WORKERS: Final = 2
START_TOGETHER = 100
LOOK_TOGETHER = 100
TARGET: Final = "benchmarks.backlog:app"


def _make_app() -> Flowcraft:
    sleeper = Flow("sleeper").sleep("rest", SLEEP_SECONDS * 1000).node("after", "add").edge("rest", "after").build()
    queued = Flow("queued").node("first", "add").node("second", "add").edge("first", "second").build()
    return Flowcraft([sleeper, queued], nodes)


app = _make_app()


async def measure_backlog(runs: int = RUNS) -> dict[str, Any]:
    """Start ``runs`` sleepers and as many ordinary runs at once, and wait until every one of them has ended."""
    async with open_site(app, TARGET, WORKERS) as site:
        began = time.perf_counter()
        sleepers = await _start(site.client, "sleeper", runs)
        queued = await _start(site.client, "queued", runs)
        started = time.perf_counter() - began
        _tell(f"{2 * runs} runs are started after {started:.0f} s")
        await _await_status(site, queued, {"completed"})
        drained = time.perf_counter() - began
        asleep = await _count(site.client, sleepers, {"awaiting"})
        _tell(f"the queued runs have ended after {drained:.0f} s; {asleep} sleep")
        await _await_status(site, sleepers, {"completed"})
        usage = read_usage(site.fleet.pids.values())
        return {
            "runs": 2 * runs,
            "workers": WORKERS,
            "started_s": started,
            "queued_ended_s": drained,
            "asleep_then": asleep,
            "all_ended_s": time.perf_counter() - began,
            "completed": await _count(site.client, sleepers + queued, {"completed"}),
            "worker_peak_memory_mb": None if usage is None else usage.peak_bytes / 1e6,
            "workers_died": site.fleet.died,
        }


async def _start(client: AsyncClient, blueprint_id: str, runs: int) -> list[str]:
    run_ids: list[str] = []
    for _ in range(0, runs, START_TOGETHER):
        run_ids += await client.start_many([StartRequest(blueprint_id)] * min(START_TOGETHER, runs - len(run_ids)))
    return run_ids


async def _await_status(site: Site, run_ids: list[str], statuses: Collection[str]) -> None:
    left = run_ids
    while left:
        looked = left[:LOOK_TOGETHER]
        headers = await asyncio.gather(*map(site.client.status, looked))
        there = {header.run_id for header in headers if header.status in statuses}
        failed = [header.run_id for header in headers if header.status in ("failed", "cancelled")]
        if failed:
            raise RuntimeError(f"runs that must complete have failed: {failed[:3]}")
        left = [run_id for run_id in left if run_id not in there]
        if len(there) < len(looked):
            await asyncio.sleep(0.2)


async def _count(client: AsyncClient, run_ids: list[str], statuses: Collection[str]) -> int:
    found = 0
    for place in range(0, len(run_ids), LOOK_TOGETHER):
        headers = await asyncio.gather(*map(client.status, run_ids[place : place + LOOK_TOGETHER]))
        found += sum(header.status in statuses for header in headers)
    return found


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
