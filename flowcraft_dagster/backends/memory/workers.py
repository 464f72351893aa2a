"""Worker records in a dictionary."""

from __future__ import annotations

from flowcraft_dagster.ports.records import WorkerRecord


class MemoryWorkerRegistry:
    """A ``WorkerRegistry`` that lives as long as the object."""

    def __init__(self) -> None:
        self._workers: dict[str, WorkerRecord] = {}

    async def record_worker(self, record: WorkerRecord) -> None:
        """See ``WorkerRegistry.record_worker``."""
        self._workers[record.worker_id] = record

    async def read_worker(self, worker_id: str) -> WorkerRecord | None:
        """See ``WorkerRegistry.read_worker``."""
        return self._workers.get(worker_id)

    async def list_workers(self, since: float) -> tuple[WorkerRecord, ...]:
        """See ``WorkerRegistry.list_workers``."""
        return tuple(record for record in self._workers.values() if record.seen_at >= since)
