"""Forgetting finished runs, so that nothing grows without bound.

What a live run may still ask for stays: the sub-flows below it, finished or not; the parent that its own end wakes; and
the ended run that it goes on from, until it has taken over what that one committed. A finished run never becomes live
again, and no new run can come to need an old one but by a retry, so looking once at the live runs is enough for a
whole pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import RunHeader
from flowcraft_dagster.runtime.emission import list_ancestors
from flowcraft_dagster.runtime.live_runs import read_live_runs
from flowcraft_dagster.runtime.options import RuntimeOptions

logger = logging.getLogger(__name__)
PAGE = 200
LEASE = "retention"
LEASE_SECONDS = 60.0
SLICE = 50
PAUSE_SECONDS = 0.1
LONGEST_INTERVAL = 600.0


class ForgettingPass:
    """One pass over the finished runs, a piece at a time.

    Args:
        backend: opened ports.
        until: runs that ended before this moment are forgotten, seconds since 1970 UTC.

    Attributes:
        deleted: runs that were deleted so far.
        kept: old ones that a live run may still ask for.
    """

    def __init__(self, backend: Backend, until: float) -> None:
        self._backend = backend
        self._until = until
        self._cursor: str | None = None
        self._live: set[str] = set()
        self._needed: set[str] = set()
        self._has_looked = False
        self.deleted = 0
        self.kept = 0

    async def forget_some(self, limit: int) -> bool:
        """Delete some runs; False once there are no more.

        Args:
            limit: finished runs to look at.

        Raises:
            InfrastructureError: the store is away; the same call goes on where it was.
        """
        page = await self._backend.index.scan_finished_runs(self._cursor, self._until, limit)
        ended = [header for header in page.headers if header.finished_at is not None]
        if ended and not self._has_looked:
            await self._look_at_live_runs()
            self._has_looked = True
        free = [header for header in ended if not self._is_needed(header)]
        await asyncio.gather(*(self._backend.state.delete_run(header.run_id) for header in free))
        self.deleted += len(free)
        self.kept += len(ended) - len(free)
        is_over = not page.headers or page.cursor == self._cursor
        self._cursor = page.cursor
        return not is_over

    async def _look_at_live_runs(self) -> None:
        async for headers in read_live_runs(self._backend.index, PAGE):
            for header in headers:
                self._live.add(header.run_id)
                if header.parent is not None:
                    self._needed.add(header.parent.run_id)
                if header.retry_of is not None and header.seq == 0:
                    self._needed.add(header.retry_of)

    def _is_needed(self, header: RunHeader) -> bool:
        if header.run_id in self._needed:
            return True
        above = {*list_ancestors(header), *([header.parent.run_id] if header.parent is not None else [])}
        return not self._live.isdisjoint(above)


async def forget_finished_runs(
    backend: Backend, until: float, on_page: Callable[[int], None] | None = None
) -> ForgettingPass:
    """Delete runs that ended before ``until``, with everything stored of them; what a live run may ask for stays.

    Args:
        backend: opened ports.
        until: seconds since 1970 UTC.
        on_page: called after each page with the number of runs deleted so far.

    Returns:
        What was done.
    """
    forgetting = ForgettingPass(backend, until)
    goes_on = True
    while goes_on:
        goes_on = await forgetting.forget_some(PAGE)
        if on_page is not None:
            on_page(forgetting.deleted)
    return forgetting


class RetentionService:
    """Forgets old runs while a worker runs, in small pieces. One worker at a time does it; two at once do no harm.

    Args:
        backend: the ports.
        options: for how long runs are kept.
        clock: time.
        worker_id: holder of the lease.
    """

    def __init__(self, backend: Backend, options: RuntimeOptions, clock: Clock, worker_id: str) -> None:
        self._backend = backend
        self._kept_seconds = (options.retention_days or 0.0) * 86_400
        self._clock = clock
        self._worker_id = worker_id

    @property
    def interval(self) -> float:
        """Seconds between two passes: a run outlives its time by a tenth at most."""
        return min(self._kept_seconds / 10, LONGEST_INTERVAL)

    async def make_pass(self) -> None:
        """Forget what is old by now, unless another worker is at it. Raises InfrastructureError."""
        forgetting = ForgettingPass(self._backend, self._clock.now() - self._kept_seconds)
        coordination = self._backend.coordination
        try:
            goes_on = True
            while goes_on and await coordination.acquire_lease(LEASE, self._worker_id, LEASE_SECONDS):
                goes_on = await forgetting.forget_some(SLICE)
                # Runs go first: what is old can wait.
                await self._clock.sleep(PAUSE_SECONDS)
        finally:
            await coordination.release_lease(LEASE, self._worker_id)
            if forgetting.deleted:
                told = "forgot %d finished runs; kept %d that live ones may ask for"
                logger.info(told, forgetting.deleted, forgetting.kept)
