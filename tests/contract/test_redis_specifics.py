"""What only Redis has: keys with an end, and few operations."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.backends.redis.settings import RedisSettings
from tests.contract.conftest import Servers

pytestmark = pytest.mark.redis


@pytest.fixture
def settings(servers: Servers) -> RedisSettings:
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    return RedisSettings.model_validate({"url": servers.redis_url, "prefix": prefix, "timeout_seconds": 2.0})


def test_every_key_is_ours_and_ends(settings: RedisSettings) -> None:
    short = settings.model_copy(update={"ttl_seconds": 30.0})

    async def drive() -> None:
        store = RedisCoordination(short)
        assert await store.acquire_lease("reconcile", "one", 5)
        assert await store.acquire_lease("for ever", "one", 1e9)
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            keys = [key async for key in client.scan_iter(match=f"{settings.prefix}:*")]
            lives = sorted([await client.pttl(key) for key in keys])
        assert len(lives) == 2
        assert 0 < lives[0] <= 5000 < lives[1] <= 30_000
        await store.close()

    asyncio.run(drive())


def test_many_wait_on_one_connection_and_operations_are_counted(settings: RedisSettings) -> None:
    async def drive() -> None:
        store = RedisCoordination(settings)
        run_ids = [f"run-{place}" for place in range(50)]
        waiting = [asyncio.ensure_future(store.await_run(run_id, 20)) for run_id in run_ids * 2]
        await asyncio.wait_for(store._subscribed.wait(), 10)
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            assert await client.pubsub_numsub(f"{settings.prefix}:runs") == [(f"{settings.prefix}:runs".encode(), 1)]
        await store.announce_runs(run_ids)
        assert all(await asyncio.gather(*waiting))
        assert store.operations["announcements"] == 50
        assert store.operations["wakeups"] == 100
        assert store._waiting == {}
        await store.close()

    asyncio.run(drive())
