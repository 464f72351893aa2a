"""Entering a bucket: one write for all who come to it at the same time."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from flowcraft_dagster.backends.cassandra.buckets import LIVE, BucketDirectory
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.errors import StoreUnavailable


class SlowSession:
    """Takes writes, each of which is on its way until it is answered."""

    def __init__(self) -> None:
        self.count = 0
        self._under_way: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def write(self, name: str, *parameters: Any) -> None:
        self.count += 1
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.put_nowait(answer)
        await answer

    async def await_write(self) -> asyncio.Future[None]:
        """The next write, once it is on its way."""
        return await asyncio.wait_for(self._under_way.get(), 10)


def make_directory() -> tuple[SlowSession, BucketDirectory]:
    session = SlowSession()
    return session, BucketDirectory(cast("CassandraSession", session))


async def enter(directory: BucketDirectory) -> None:
    await directory.enter(LIVE, 7)


async def test_all_share_one_write_and_its_answer() -> None:
    session, directory = make_directory()
    entering = [asyncio.ensure_future(enter(directory)) for _ in range(50)]
    (await session.await_write()).set_result(None)
    await asyncio.gather(*entering)
    await enter(directory)
    assert session.count == 1


async def test_a_failure_is_everybodys_and_the_next_one_tries_again() -> None:
    session, directory = make_directory()
    entering = [asyncio.ensure_future(enter(directory)) for _ in range(3)]
    (await session.await_write()).set_exception(StoreUnavailable("away", store="cassandra"))
    failed = await asyncio.gather(*entering, return_exceptions=True)
    assert [type(error) for error in failed] == [StoreUnavailable] * 3
    again = asyncio.ensure_future(enter(directory))
    (await session.await_write()).set_result(None)
    await again


async def test_one_who_gives_up_takes_the_write_from_nobody() -> None:
    session, directory = make_directory()
    first, second = (asyncio.ensure_future(enter(directory)) for _ in range(2))
    write = await session.await_write()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not write.cancelled()
    write.set_result(None)
    await second


async def test_a_failure_that_nobody_waits_for_is_no_complaint() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    session, directory = make_directory()
    only = asyncio.ensure_future(enter(directory))
    write = await session.await_write()
    only.cancel()
    await asyncio.wait([only])
    write.set_exception(StoreUnavailable("away", store="cassandra"))
    del only, write
    for _ in range(5):
        await asyncio.sleep(0)
    assert not directory._entering
    gc.collect()
    assert complaints == []


async def test_a_write_that_was_cancelled_before_it_began_is_in_nobodys_way() -> None:
    session, directory = make_directory()
    only = asyncio.ensure_future(enter(directory))
    await asyncio.sleep(0)
    assert directory._entering, "the write is about to begin"
    assert session.count == 0
    # As a loop does that ends.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([only])
    again = asyncio.ensure_future(enter(directory))
    (await session.await_write()).set_result(None)
    await again
