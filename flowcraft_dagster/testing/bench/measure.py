"""One measurement: workers are started, runs submitted, results awaited and checked.

The rate is runs by the time from the first submission to the last result. Latency of a run is from its submission to
its end as the store has it; with all runs submitted at once most of it is waiting in the queue, so the latency of
single runs on idle workers is measured before.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.bench.raw import measure_raw_commits
from flowcraft_dagster.testing.bench.usage import read_usage
from flowcraft_dagster.testing.bench.workloads import VARIABLE, Reference, Workload, find_references
from flowcraft_dagster.testing.conformance.comparison import is_same
from flowcraft_dagster.testing.environment import make_token, open_separate_backend, separate_environment
from flowcraft_dagster.testing.fleet import WorkerFleet
from flowcraft_dagster.timeouts import await_within

IDLE_RUNS = 10
WARM_RUNS = 100
WARM_NODES = 2000
WARM_SHARE = 4
WARM_SECONDS = 30.0
RAW_COMMITS = 2000
POLL_SECONDS = 0.05
START_TOGETHER = 200
LOOK_TOGETHER = 20
FOR_EVER = 1e9


class WrongResult(FlowcraftError):
    """A run ended with another result than in memory: figures of it are worth nothing."""


@dataclass(frozen=True)
class BenchOptions:
    """How it is measured.

    Attributes:
        backend: ``embedded`` or ``kafka``.
        runs: how many are submitted.
        workers: worker processes.
        durability: ``node`` or ``segment``; None takes that of the environment.
        folder: the data of the embedded backend go into a new folder in here; it must be on a real disk.
        timeout: seconds for all runs.
        in_flight: runs that are under way at a time, each awaited before the next is submitted; None submits all at
            once.
    """

    backend: str
    runs: int
    workers: int
    folder: Path
    durability: str | None = None
    timeout: float = 900.0
    in_flight: int | None = None


async def measure(workload: Workload, options: BenchOptions, on_done: Callable[[int], None]) -> dict[str, Any]:
    """Measure a workload.

    Args:
        workload: what is run.
        options: how.
        on_done: called with the number of runs that have ended since the last call.

    Returns:
        The figures, JSON.

    Raises:
        WrongResult: a run did not end as it does in memory.
        FlowcraftError: workers or backend do not start, or the time is up.
    """
    references = await find_references(workload, min(options.runs, len(workload.contexts)))
    token = make_token()
    folder = options.folder / f"bench-{token}"
    folder.mkdir(parents=True)
    try:
        environment = separate_environment(options.backend, folder, token)
        if options.durability is not None:
            environment["FLOWCRAFT_DURABILITY"] = options.durability
        settings = Settings.from_env({**os.environ, **environment})
        async with open_separate_backend(settings) as backend:
            client = workload.app.async_client(settings, backend=backend, dice=random.SystemRandom())
            raw = await measure_raw_commits(client.backend.state, RAW_COMMITS)
            async with WorkerFleet(
                workload.target, options.workers, {**environment, VARIABLE: workload.name}, folder
            ) as fleet:
                figures: dict[str, Any] = {}
                await fleet.guard(_load(workload, options, client, fleet, references, on_done, figures))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "backend": options.backend,
        "blueprint": workload.name,
        "runs": options.runs,
        "workers": options.workers,
        "in_flight": options.in_flight,
        "durability": settings.options.durability,
        "synchronous": settings.synchronous if options.backend == "embedded" else None,
        **figures,
        "raw_commits_per_s": round(raw, 1),
    }


async def _load(
    workload: Workload,
    options: BenchOptions,
    client: AsyncClient,
    fleet: WorkerFleet,
    references: Sequence[Reference],
    on_done: Callable[[int], None],
    figures: dict[str, Any],
) -> None:
    await _warm_up(workload, client, references, options.workers)
    idle = [await _time_one(workload, client, number) for number in range(IDLE_RUNS)]
    pids = list(fleet.pids.values())
    before, own_before = read_usage(pids), time.process_time()
    requests = [
        StartRequest(workload.blueprint_id, workload.contexts[number % len(workload.contexts)], f"bench-{number}")
        for number in range(options.runs)
    ]
    submitted: dict[str, float] = {}
    work = _run_all_at_once if options.in_flight is None else partial(_run_in_turn, options.in_flight)
    began = time.perf_counter()
    try:
        ends = await await_within(work(client, requests, submitted, on_done), options.timeout)
    except asyncio.TimeoutError:
        raise FlowcraftError(f"not all runs ended within {options.timeout:g} s") from None
    took = time.perf_counter() - began
    after, own_after = read_usage(pids), time.process_time()
    await _check(client, ends, references)
    nodes = sum(references[number % len(references)].nodes for number in range(options.runs))
    latencies = [ends[run_id] - at for run_id, at in submitted.items()]
    used = None if before is None or after is None else after.cpu_seconds - before.cpu_seconds
    figures |= {
        "seconds": round(took, 4),
        "runs_per_s": round(options.runs / took, 1),
        "nodes": nodes,
        "nodes_per_s": round(nodes / took, 1),
        "latency_ms": describe_seconds(latencies),
        "idle_latency_ms": describe_seconds(idle),
        "worker_cpu_seconds": None if used is None else round(used, 2),
        "worker_cpu_ms_per_node": None if used is None else round(used / nodes * 1000, 3),
        "worker_peak_memory_mb": None if after is None else round(after.peak_bytes / 1e6, 1),
        "client_cpu_seconds": round(own_after - own_before, 2),
    }


async def _warm_up(workload: Workload, client: AsyncClient, references: Sequence[Reference], workers: int) -> None:
    """Let every worker get its share of the queue, import what it needs and fill its caches.

    A group gives partitions to a second worker only after the first has given them up: until runs of one round were
    taken by all workers, the figures would be those of a group that still forms.
    """
    contexts = workload.contexts
    count = max(WARM_SHARE * workers, min(WARM_RUNS, WARM_NODES // max(1, references[0].nodes)))
    end = time.monotonic() + WARM_SECONDS
    for number in itertools.count():
        requests = [
            StartRequest(workload.blueprint_id, contexts[place % len(contexts)], f"warm{number}-{place}")
            for place in range(count)
        ]
        owners = set()
        for run_id in await client.start_many(requests):
            await client.wait(run_id, 300)
            owners.add((await client.status(run_id)).owner)
        if len(owners) >= workers or time.monotonic() > end:
            return


async def _time_one(workload: Workload, client: AsyncClient, number: int) -> float:
    began = time.perf_counter()
    context = workload.contexts[number % len(workload.contexts)]
    await client.wait(await client.start(StartRequest(workload.blueprint_id, context, f"idle-{number}")), 300)
    return time.perf_counter() - began


async def _run_all_at_once(
    client: AsyncClient,
    requests: Sequence[StartRequest],
    submitted: dict[str, float],
    on_done: Callable[[int], None],
) -> dict[str, float]:
    submitting = asyncio.ensure_future(_submit(client, requests, submitted))
    try:
        return await _collect(client, requests, submitted, on_done)
    finally:
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)


async def _run_in_turn(
    in_flight: int,
    client: AsyncClient,
    requests: Sequence[StartRequest],
    submitted: dict[str, float],
    on_done: Callable[[int], None],
) -> dict[str, float]:
    left = deque(requests)
    ends: dict[str, float] = {}

    async def take_turns() -> None:
        while left:
            request = left.popleft()
            submitted[str(request.run_id)] = time.time()
            result = await client.wait(await client.start(request), FOR_EVER)
            ends[result.run_id] = result.finished_at or 0.0
            on_done(1)

    await asyncio.gather(*(take_turns() for _ in range(in_flight)))
    return ends


async def _submit(client: AsyncClient, requests: Sequence[StartRequest], submitted: dict[str, float]) -> None:
    for place in range(0, len(requests), START_TOGETHER):
        group = requests[place : place + START_TOGETHER]
        now = time.time()
        for request in group:
            submitted[str(request.run_id)] = now
        await client.start_many(group)


async def _collect(
    client: AsyncClient,
    requests: Sequence[StartRequest],
    submitted: dict[str, float],
    on_done: Callable[[int], None],
) -> dict[str, float]:
    """Look at the oldest runs every 50 ms, as a client does that polls, until all have ended."""
    left = [str(request.run_id) for request in requests]
    ends: dict[str, float] = {}
    while left:
        await asyncio.sleep(POLL_SECONDS)
        moving = True
        while moving and left:
            looked = [run_id for run_id in left[:LOOK_TOGETHER] if run_id in submitted]
            headers = await asyncio.gather(*map(client.backend.state.read_header, looked))
            found = {h.run_id: h.finished_at or 0.0 for h in headers if h is not None and h.is_final}
            moving = len(found) == LOOK_TOGETHER
            ends |= found
            left = [run_id for run_id in left if run_id not in found]
            on_done(len(found))
    return ends


async def _check(client: AsyncClient, ends: dict[str, float], references: Sequence[Reference]) -> None:
    for run_id in ends:
        result = await client.result(run_id)
        expected = references[int(run_id.rpartition("-")[2]) % len(references)]
        if result.status != expected.status or not is_same(dict(expected.outputs), result.outputs):
            raise WrongResult(f"run {run_id} ended {result.status} with other outputs than in memory")


def describe_seconds(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles in milliseconds, by the nearest rank."""
    ranked = sorted(seconds)
    return {
        f"p{percent}": round(ranked[max(0, -(-percent * len(ranked) // 100) - 1)] * 1000, 2) for percent in (50, 99)
    }
