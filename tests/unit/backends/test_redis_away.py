"""Without Redis nothing raises and nothing waits for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from flowcraft_dagster.backends.redis.breaker import CircuitBreaker
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


def test_it_may_be_used_again_in_another_loop(settings: RedisSettings) -> None:
    store = RedisCoordination(settings)

    async def drive() -> None:
        assert await store.await_run("run-1", 0.05) is False
        await store.close()

    asyncio.run(drive())
    asyncio.run(drive())


def test_a_cancellation_that_the_client_forgets_is_not_lost(settings: RedisSettings) -> None:
    async def forget(**_: object) -> int:
        # As asyncio.wait_for does before Python 3.12, when what it waits for ends in the same moment.
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 1
        return 0

    async def drive() -> None:
        store = RedisCoordination(settings)
        store._connect()
        store._acquire = forget
        asking = asyncio.ensure_future(store.acquire_lease("a", "one", 1))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await store.close()

    asyncio.run(drive())


def test_closing_ends_a_listener_that_forgets_a_cancellation(settings: RedisSettings) -> None:
    async def drive() -> None:
        store = RedisCoordination(settings)
        forgotten = 0

        async def hear(is_again: bool) -> None:
            nonlocal forgotten
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                forgotten += 1
                if forgotten > 1:
                    raise

        store._hear_until_broken = hear  # type: ignore[method-assign]
        assert await store.await_run("run-1", 0.05) is False
        await asyncio.wait_for(store.close(), 10)
        assert forgotten == 1

    asyncio.run(drive())


def test_one_call_tries_whether_it_is_back_and_nobody_waits_for_that() -> None:
    async def drive() -> None:
        now = 0.0
        silent = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await silent.wait()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"redis://127.0.0.1:{port}/0"
        store = RedisCoordination(RedisSettings.model_validate({"url": url, "timeout_seconds": 0.2}))
        store._breaker = CircuitBreaker(1, 5.0, 60.0, clock=lambda: now)
        await store.announce_runs(["run-1"])
        assert store._breaker.is_open
        now = 6.0
        trial = asyncio.ensure_future(store.announce_runs(["run-2"]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert store._breaker.is_open, "the trial is under way"
        others = [asyncio.ensure_future(store.announce_runs([f"other-{number}"])) for number in range(20)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert all(other.done() for other in others)
        assert not trial.done()
        await trial
        assert store.operations["failures"] == 2
        await store.close()
        silent.set()
        server.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)

    asyncio.run(drive())
