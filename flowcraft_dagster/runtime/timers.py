"""Due timers become wakes.

1. Read timers that are due. 2. Send a wake for each, keyed by its run. 3. Drop the timers. A crash between 2 and 3
wakes a run twice, and the second wake finds the end row; a crash before 2 changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from flowcraft_dagster.errors import InfrastructureError, QueueUnavailable
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.availability import Availability
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point
from flowcraft_dagster.runtime.messages import JobMessage, encode_job
from flowcraft_dagster.runtime.options import RuntimeOptions

logger = logging.getLogger(__name__)
LEASE = "timers"
BATCH = 500


class TimerService:
    """Looks for due timers while a worker runs. One worker at a time does it; two at once do no harm.

    Args:
        backend: the ports.
        options: the interval.
        clock: time.
        worker_id: holder of the lease.
        availability: is told whether the servers answer.
        tell_outages: awaited before a wake is sent: a due time-out is not to be judged without knowing of an outage.
    """

    def __init__(
        self,
        backend: Backend,
        options: RuntimeOptions,
        clock: Clock,
        worker_id: str,
        availability: Availability,
        tell_outages: Callable[[], Awaitable[None]],
    ) -> None:
        self._backend = backend
        self._options = options
        self._clock = clock
        self._worker_id = worker_id
        self._availability = availability
        self._tell_outages = tell_outages

    async def run(self) -> None:
        """Fire due timers until cancelled."""
        interval = self._options.timer_seconds
        lease_seconds = max(1.0, 5 * interval)
        leading_until = 0.0
        is_away = False
        try:
            while True:
                if self._clock.monotonic() >= leading_until:
                    leads = await self._backend.coordination.acquire_lease(LEASE, self._worker_id, lease_seconds)
                    leading_until = self._clock.monotonic() + lease_seconds / 2 if leads else 0.0
                if leading_until:
                    try:
                        fired = BATCH
                        while fired == BATCH:
                            fired = await self.fire_due()
                        is_away = False
                    except InfrastructureError as error:
                        self._availability.note_failure("queue" if isinstance(error, QueueUnavailable) else "store")
                        if not is_away:
                            logger.warning("timers wait, a server is away: %s", error)
                        is_away = True
                await self._clock.sleep(interval)
        finally:
            await self._backend.coordination.release_lease(LEASE, self._worker_id)

    async def fire_due(self) -> int:
        """Send wakes for timers that are due now; returns how many, at most ``BATCH``."""
        timers = await self._backend.index.read_due_timers(self._clock.now(), BATCH)
        self._availability.note_answer("store")
        if timers:
            await self._tell_outages()
            await self._backend.jobs.send(
                [encode_job(JobMessage(timer.run_id, timer=timer.key)) for timer in timers]
            )
            self._availability.note_answer("queue")
            await pass_point(FaultPoint.AFTER_TIMER_SENT)
            await self._backend.index.drop_timers(timers)
        return len(timers)
