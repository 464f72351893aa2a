"""The in-memory backend passes every suite."""

from __future__ import annotations

import pytest

from flowcraft_dagster.backends.memory import MemoryBackend
from flowcraft_dagster.backends.memory.coordination import MemoryCoordinationStore
from flowcraft_dagster.backends.memory.jobs import MemoryJobConsumer
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.queue import JobConsumer
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.contracts import (
    BackendContract,
    CoordinationContract,
    DeadLettersContract,
    JobQueueContract,
    RequestQueueContract,
    RunIndexContract,
    StateStoreContract,
    WorkerRegistryContract,
)


class InMemory(BackendContract):
    """Connections to one backend object: its storage is the object itself."""

    quiet = 0.05

    @pytest.fixture(autouse=True)
    def make_storage(self) -> None:
        self.storage = MemoryBackend(SystemClock(), revoke_seconds=0.3)

    async def connect(self) -> Backend:
        await self.storage.open()
        return self.storage


class TestState(InMemory, StateStoreContract):
    pass


class TestIndex(InMemory, RunIndexContract):
    pass


class TestWorkers(InMemory, WorkerRegistryContract):
    pass


class TestDeadLetters(InMemory, DeadLettersContract):
    pass


class TestRequests(InMemory, RequestQueueContract):
    pass


class TestJobs(InMemory, JobQueueContract):
    revoke_seconds = 0.3

    async def kill_consumer(self, consumer: JobConsumer) -> None:
        assert isinstance(consumer, MemoryJobConsumer)
        consumer.kill()


class TestCoordination(InMemory, CoordinationContract):
    async def flush_hints(self, backend: Backend) -> None:
        assert isinstance(backend.coordination, MemoryCoordinationStore)
        await backend.coordination.flush()
