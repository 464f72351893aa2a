"""Which workers there are."""

from __future__ import annotations

from typing import Protocol

from flowcraft_dagster.ports.records import WorkerRecord


class WorkerRegistry(Protocol):
    """Heartbeats of workers: tells a dead owner from a living one, and feeds health checks."""

    async def record_worker(self, record: WorkerRecord) -> None:
        """Write a worker's present record over its last one."""
        ...

    async def read_worker(self, worker_id: str) -> WorkerRecord | None:
        """The record of one incarnation, or None."""
        ...

    async def list_workers(self, since: float) -> tuple[WorkerRecord, ...]:
        """Records seen at or after ``since`` (seconds since 1970 UTC)."""
        ...
