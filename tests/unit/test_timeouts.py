"""Waiting for a limited time."""

from __future__ import annotations

import asyncio

import pytest

from flowcraft_dagster.backends.kafka.consumer import KafkaJobConsumer
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.timeouts import await_within


async def test_what_ends_in_time_is_returned_or_raised() -> None:
    async def fail() -> None:
        raise ValueError("wrong")

    assert await await_within(asyncio.sleep(0, "done"), 30) == "done"
    with pytest.raises(ValueError, match="wrong"):
        await await_within(fail(), 30)


async def test_what_does_not_end_is_cancelled() -> None:
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(asyncio.TimeoutError):
        await await_within(hang(), 0.01)
    assert ended.is_set()


async def test_a_cancellation_is_not_lost_when_the_wait_ends_in_the_same_moment() -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(await_within(event.wait(), 30))
    await asyncio.sleep(0.01)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancelled_wait_cancels_what_it_waits_for() -> None:
    inner = asyncio.ensure_future(asyncio.Event().wait())
    waiting = asyncio.ensure_future(await_within(inner, 30))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert inner.cancelled()


async def test_a_consumers_fetch_is_cancelled_though_messages_arrive_in_the_same_moment() -> None:
    consumer = KafkaJobConsumer(KafkaSettings(), "slot", "worker")
    fetching = asyncio.ensure_future(consumer.fetch(10))
    await asyncio.sleep(0.01)
    consumer._news.set()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
