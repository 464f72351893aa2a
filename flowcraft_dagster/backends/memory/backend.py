"""All ports in memory."""

from __future__ import annotations

from flowcraft_dagster.backends.memory.coordination import MemoryCoordinationStore
from flowcraft_dagster.backends.memory.index import MemoryRunIndex
from flowcraft_dagster.backends.memory.jobs import MemoryJobQueue
from flowcraft_dagster.backends.memory.letters import MemoryDeadLetters, MemoryRequestQueue
from flowcraft_dagster.backends.memory.state import MemoryStateStore
from flowcraft_dagster.backends.memory.workers import MemoryWorkerRegistry
from flowcraft_dagster.ports.backend import HealthReport
from flowcraft_dagster.ports.clock import Clock


class MemoryBackend:
    """A ``Backend`` within one event loop: no threads, no files, no time but the clock's.

    Several workers may share one object; ``close`` forgets nothing. With a deterministic clock and loop
    every run of it is the same.

    Args:
        clock: the only source of time.
        partitions: partitions of the job queue.
        revoke_seconds: how long a member may finish what is in flight before it loses a partition.
        topic_id: identity of the request queue; random when None.

    Example:
        >>> from flowcraft_dagster.backends.memory import MemoryBackend
        >>> backend = MemoryBackend(clock)  # doctest: +SKIP
        >>> await backend.state.read_header("no-such-run")  # doctest: +SKIP
    """

    def __init__(
        self, clock: Clock, partitions: int = 12, *, revoke_seconds: float = 20.0, topic_id: str | None = None
    ) -> None:
        self.name = "memory"
        self.state = MemoryStateStore()
        self.index = MemoryRunIndex(self.state)
        self.workers = MemoryWorkerRegistry()
        self.jobs = MemoryJobQueue(clock, partitions, revoke_seconds)
        self.dead_letters = MemoryDeadLetters(self.jobs)
        self.requests = MemoryRequestQueue(topic_id)
        self.coordination = MemoryCoordinationStore(clock, self.state)

    async def open(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Nothing to let go of; what is stored stays."""

    async def create_schema(self) -> list[str]:
        """Nothing to make."""
        return []

    async def delete_schema(self) -> None:
        """See ``Backend.delete_schema``; what is stored goes with this object anyway."""

    async def check_health(self) -> list[HealthReport]:
        """Memory is always well."""
        return [HealthReport("memory", True, f"{len(self.state.runs)} runs, {len(self.state.live)} of them live")]
