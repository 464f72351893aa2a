"""One test's own corner of the real servers: topics, keyspace, keys, workers and a client."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flowcraft_dagster import AsyncClient, Flowcraft, Settings
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.runtime.worker import Worker
from flowcraft_dagster.testing.environment import make_token, separate_environment
from flowcraft_dagster.testing.fleet import WorkerFleet
from flowcraft_dagster.wiring import make_backend
from tests.integration.kafka.record import Record
from tests.integration.kafka.sample_app import FOLDER, TARGET, make_app, open_gate

PATIENCE = 60.0

# Everything that takes seconds in production takes a fraction of one here.
SHORT_TIMINGS = {
    "KAFKA_PARTITIONS": "4",
    "KAFKA_SESSION_SECONDS": "1.5",
    "KAFKA_REVOKE_SECONDS": "1",
    "KAFKA_COMMIT_SECONDS": "0.2",
    "REDIS_TIMEOUT_SECONDS": "1",
    "REDIS_CONNECT_SECONDS": "2",
    "FLOWCRAFT_HEARTBEAT_SECONDS": "0.5",
    "FLOWCRAFT_DRAIN_SECONDS": "2",
    "FLOWCRAFT_RETRY_MAX_SECONDS": "1",
}


async def wait_until(what: str, is_so: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when ``is_so()``; fail the test when that takes too long."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)


async def wait_until_async(what: str, is_so: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """As :func:`wait_until`, for what must be asked of a server."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await is_so():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)


@dataclass
class Site:
    """Topics, group, keyspace and keys of one test.

    Attributes:
        folder: record, switches and logs.
        stack: variables that say where the servers are.
        overrides: variables of this test.
    """

    folder: Path
    stack: Mapping[str, str]
    overrides: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=make_token)

    def __post_init__(self) -> None:
        self.record = Record(self.folder / "record.jsonl")
        self.app: Flowcraft = make_app(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for worker processes."""
        own = separate_environment("kafka", self.folder, self.token)
        return {**self.stack, **own, **SHORT_TIMINGS, FOLDER: str(self.folder), **self.overrides}

    @property
    def settings(self) -> Settings:
        """The same for this process."""
        return Settings.from_env({**os.environ, **self.environment})

    def open_gate(self, run_id: str, text: str = "go") -> None:
        """Let the gate nodes of a run end; ``fail`` makes them raise."""
        open_gate(self.folder, run_id, text)

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[Backend]:
        """An opened backend with its tables and topics."""
        backend = make_backend(self.settings, SystemClock())
        await backend.open()
        try:
            await backend.create_schema()
            yield backend
        finally:
            await backend.close()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        """A client; makes tables and topics."""
        async with self.backend() as backend:
            yield self.app.async_client(self.settings, backend=backend, dice=random.SystemRandom())

    @asynccontextmanager
    async def worker(self, slot: str = "w0", app: Flowcraft | None = None) -> AsyncIterator[Worker]:
        """A worker in this process, with connections of its own; tables and topics must be there."""
        settings = self.settings
        backend = make_backend(settings, SystemClock())
        await backend.open()
        worker = (app or self.app).worker(settings, backend=backend, slot=slot, dice=random.SystemRandom())
        running = asyncio.ensure_future(worker.run())
        try:
            await worker.ready.wait()
            yield worker
        finally:
            worker.stop()
            await running
            await backend.close()

    def fleet(self, size: int, **variables: str) -> WorkerFleet:
        """Worker processes."""
        logs = self.folder / "workers"
        logs.mkdir(exist_ok=True)
        return WorkerFleet(TARGET, size, {**self.environment, **variables}, logs)
