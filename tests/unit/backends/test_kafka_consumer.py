"""The consumer's thread and the runtime's loop, without a broker."""

from __future__ import annotations

import asyncio

from flowcraft_dagster.backends.kafka.consumer import KafkaJobConsumer
from flowcraft_dagster.backends.kafka.settings import KafkaSettings


async def test_the_runtime_clears_up_after_the_time_it_was_given() -> None:
    cleared: list[frozenset[int]] = []

    async def on_revoked(partitions: frozenset[int], seconds: float) -> None:
        # Something is in flight that does not end in time, and is cancelled then.
        await asyncio.sleep(seconds)
        await asyncio.sleep(0.05)
        cleared.append(partitions)

    consumer = KafkaJobConsumer(KafkaSettings(revoke_seconds=0.2), "0", "worker")
    consumer._loop = asyncio.get_running_loop()
    consumer._on_revoked = on_revoked
    await asyncio.to_thread(consumer._await_runtime, frozenset({3}))
    assert cleared == [frozenset({3})]
