"""A worker for a while: until so much is done, the time is up, or nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.queue import JobQueue
from flowcraft_dagster.runtime.worker import Worker

FIRST_LOOK_SECONDS: Final = 0.05
LONGEST_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class WorkBounds:
    """When a worker ends by itself; without any bound it works until it is stopped.

    Attributes:
        max_jobs: messages that are taken from the queue; what they began goes on until it ends or waits.
        max_seconds: no new work after this; running nodes get the drain time of the options.
        idle_seconds: the worker ends when there was nothing to do for so long.
    """

    max_jobs: int | None = None
    max_seconds: float | None = None
    idle_seconds: float | None = None

    @property
    def are_set(self) -> bool:
        """Whether the worker ends by itself."""
        return any(bound is not None for bound in (self.max_jobs, self.max_seconds, self.idle_seconds))


@dataclass(frozen=True, slots=True)
class WorkReport:
    """What a worker did.

    Attributes:
        seconds: how long it ran.
        jobs: messages it took from the queue.
        counters: its figures above 0, by name.
        left: messages that still wait.
        is_idle: whether it ended because nothing was left to do.
    """

    seconds: float
    jobs: int
    counters: Mapping[str, int]
    left: int
    is_idle: bool


async def work_within(worker: Worker, jobs: JobQueue, clock: Clock, bounds: WorkBounds) -> WorkReport:
    """Run a worker within bounds; then leave without losing anything.

    Args:
        worker: made, and not run yet.
        jobs: its queue, open.
        clock: time.
        bounds: when to end.

    Raises:
        InfrastructureError: the queue is away for good; nothing is lost.
    """
    began = clock.monotonic()
    working = asyncio.ensure_future(worker.run(bounds.max_jobs))
    watching = asyncio.ensure_future(_watch(worker, jobs, clock, bounds))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not watching.done():
            watching.cancel()
        worker.stop()
        # Both are awaited also when one of them failed: the worker must have left.
        outcomes = await asyncio.gather(working, watching, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
    return WorkReport(
        seconds=clock.monotonic() - began,
        jobs=worker.counters.get("messages", 0),
        counters={name: count for name, count in worker.counters.items() if count},
        left=await jobs.measure_lag(),
        is_idle=outcomes[1] is True,
    )


async def _watch(worker: Worker, jobs: JobQueue, clock: Clock, bounds: WorkBounds) -> bool:
    """Return when the time is up (False) or there was nothing to do for a while (True)."""
    began = clock.monotonic()
    idle_since: float | None = None
    pause = FIRST_LOOK_SECONDS
    while True:
        waits = [pause]
        if bounds.max_seconds is not None:
            left = began + bounds.max_seconds - clock.monotonic()
            if left <= 0:
                return False
            waits.append(left)
        await clock.sleep(min(waits))
        if bounds.idle_seconds is None:
            pause = LONGEST_LOOK_SECONDS
            continue
        # Asking the queue costs a request, so it is asked only when this worker itself has nothing to do.
        is_busy = worker.live_runs > 0 or await jobs.measure_lag() > 0
        now = clock.monotonic()
        idle_since = None if is_busy else now if idle_since is None else idle_since
        if idle_since is not None and now - idle_since >= bounds.idle_seconds:
            return True
        pause = min(pause * 2, LONGEST_LOOK_SECONDS, bounds.idle_seconds or LONGEST_LOOK_SECONDS)
