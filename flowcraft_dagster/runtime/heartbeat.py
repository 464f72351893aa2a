"""What a worker tells of itself: that it lives, its figures, which runs it holds, and when servers were away."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.records import WorkerRecord
from flowcraft_dagster.runtime.availability import Availability
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.deadlines import OUTAGES
from flowcraft_dagster.runtime.worker_parts import WorkerParts

logger = logging.getLogger(__name__)


class Heartbeat:
    """Writes a worker's record, and touches its runs.

    Args:
        parts: of the worker.
        worker_id: its incarnation id.
        availability: the outages it has met.
        describe_health: its figures of now.

    Attributes:
        started_at: when the worker began, seconds since 1970 UTC.
    """

    def __init__(
        self,
        parts: WorkerParts,
        worker_id: str,
        availability: Availability,
        describe_health: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._parts = parts
        self._worker_id = worker_id
        self._availability = availability
        self._describe_health = describe_health
        self.started_at = parts.clock.now()

    async def record(self, state: str) -> None:
        """Write the record: ``alive`` or ``stopped``. Raises InfrastructureError."""
        await self._parts.backend.workers.record_worker(
            WorkerRecord(
                worker_id=self._worker_id,
                slot=self._parts.slot,
                pid=os.getpid(),
                host=socket.gethostname(),
                state=state,
                started_at=self.started_at,
                seen_at=self._parts.clock.now(),
                health={**self._describe_health(), OUTAGES: self._availability.list_outages()},
            )
        )

    async def beat(self, run_ids: Collection[str], patience: Patience) -> None:
        """Say that the worker lives, and that runs are served.

        Args:
            run_ids: the runs.
            patience: tells of outages.

        Raises:
            InfrastructureError: the store is away.
        """
        self._availability.note_beat()
        try:
            await self.record("alive")
            # A run that is touched counts as served: whoever sees that must see the outages, too.
            self._availability.note_beat()
            await patience.tell()
            if run_ids:
                await self._parts.backend.state.touch_runs(sorted(run_ids), self._parts.clock.now())
        except InfrastructureError:
            self._availability.note_failure("store")
            raise
        self._availability.note_answer("store")

    async def tell_outages(self) -> bool:
        """Write the record, since there is an outage in it that others ought to know; False when that fails."""
        try:
            await self.record("alive")
        except InfrastructureError as error:
            self._availability.note_failure("store")
            logger.info("outages are told later: %s", error)
            return False
        return True
