"""How the suites reach a backend on real servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.testing.contracts import BackendContract
from tests.contract.conftest import Servers

REVOKE_SECONDS = 1.0


class OnRealServers(BackendContract):
    """Connections to the session's servers; topics, group and Redis keys are the test's own."""

    patience = 40.0
    quiet = 0.5

    @pytest.fixture(autouse=True)
    def make_storage(self, servers: Servers) -> None:
        name = f"test-{uuid.uuid4().hex[:10]}"
        self.servers = servers
        self.cassandra = servers.cassandra
        self.kafka = KafkaSettings(
            brokers=servers.brokers,
            jobs_topic=name,
            letters_topic=f"{name}.dlq",
            requests_topic=f"{name}.requests",
            group_id=f"{name}-group",
            partitions=4,
            session_seconds=1.5,
            revoke_seconds=REVOKE_SECONDS,
            commit_seconds=0.2,
        )
        self.redis = RedisSettings.model_validate({"url": servers.redis_url, "prefix": name, "timeout_seconds": 2.0})

    async def connect(self) -> Backend:
        backend = KafkaBackend(self.kafka, self.cassandra, self.redis)
        await backend.open()
        return backend


class WithTopics(OnRealServers):
    """The same with the topics made; making them takes a moment, so only where they are needed."""

    async def connect(self) -> Backend:
        backend = KafkaBackend(self.kafka, self.cassandra, self.redis)
        await backend.open()
        await backend.create_schema()
        return backend


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Ask until the answer is yes; servers tell nobody when they are done."""
    for _ in range(int(seconds / 0.05)):
        if await check():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s")
