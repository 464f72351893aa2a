"""The Redis coordination store passes its suite on a real server."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.testing.contracts import CoordinationContract
from tests.contract.real_servers import OnRealServers

pytestmark = pytest.mark.redis


class TestCoordination(OnRealServers, CoordinationContract):
    async def flush_hints(self, backend: Backend) -> None:
        async with Redis.from_url(self.servers.redis_url) as client:
            await client.flushall()
