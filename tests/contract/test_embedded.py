"""The embedded backend passes every suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.consumer import EmbeddedJobConsumer
from flowcraft_dagster.backends.embedded.coordination import EmbeddedCoordinationStore
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


class Embedded(BackendContract):
    """Connections to one folder, each with a writer, readers and locks of its own, as in another process."""

    quiet = 0.15

    @pytest.fixture(autouse=True)
    def make_storage(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"

    async def connect(self) -> Backend:
        backend = EmbeddedBackend(self.home, SystemClock(), revoke_seconds=0.3)
        await backend.open()
        return backend


class TestState(Embedded, StateStoreContract):
    pass


class TestIndex(Embedded, RunIndexContract):
    pass


class TestWorkers(Embedded, WorkerRegistryContract):
    pass


class TestDeadLetters(Embedded, DeadLettersContract):
    pass


class TestRequests(Embedded, RequestQueueContract):
    pass


class TestJobs(Embedded, JobQueueContract):
    revoke_seconds = 0.3

    async def kill_consumer(self, consumer: JobConsumer) -> None:
        assert isinstance(consumer, EmbeddedJobConsumer)
        consumer.kill()


class TestCoordination(Embedded, CoordinationContract):
    async def flush_hints(self, backend: Backend) -> None:
        assert isinstance(backend.coordination, EmbeddedCoordinationStore)
        await backend.coordination.flush()
