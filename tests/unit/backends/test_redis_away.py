"""Without Redis nothing raises and nothing waits for long."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.backends.redis.settings import RedisSettings


@pytest.fixture
def settings() -> RedisSettings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return RedisSettings.model_validate({"url": f"redis://user:s3cr3t@127.0.0.1:{port}/0"})


def test_leases_are_granted(settings: RedisSettings) -> None:
    async def drive() -> None:
        store = RedisCoordination(settings)
        start = time.monotonic()
        for _ in range(200):
            assert await store.acquire_lease("a", "one", 1)
            await store.release_lease("a", "one")
            await store.announce_runs(["run-1"])
        assert time.monotonic() - start < 2.0, "every call waited for a server that is away"
        assert store.operations["failures"] == settings.failures
        trouble = await store.check_health()
        assert trouble is not None
        assert "127.0.0.1" in trouble
        assert "s3cr3t" not in trouble
        await store.close()

    asyncio.run(drive())


def test_waiting_falls_back_to_looking(settings: RedisSettings) -> None:
    async def drive() -> None:
        ended: list[str] = []

        async def has_ended(run_id: str) -> bool:
            return run_id in ended

        store = RedisCoordination(settings, has_ended)
        assert await store.await_run("run-1", 0.05) is False
        ended.append("run-1")
        assert await store.await_run("run-1", 0.05) is True
        await store.close()
        assert store._waiting == {}

    asyncio.run(drive())
