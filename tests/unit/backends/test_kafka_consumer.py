"""The consumer's thread and the runtime's loop, without a broker."""

from __future__ import annotations

import asyncio

from flowcraft_dagster.backends.kafka.held import HeldPartitions
from flowcraft_dagster.backends.kafka.polling import PollingThread
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.ports.records import Message


async def test_the_runtime_clears_up_after_the_time_it_was_given() -> None:
    cleared: list[frozenset[int]] = []

    async def on_revoked(partitions: frozenset[int], seconds: float) -> None:
        # Something is in flight that does not end in time, and is cancelled then.
        await asyncio.sleep(seconds)
        await asyncio.sleep(0.05)
        cleared.append(partitions)

    settings = KafkaSettings(revoke_seconds=0.2)
    polling = PollingThread(settings, "0", "worker", HeldPartitions(), on_revoked, lambda: None)
    await asyncio.to_thread(polling._await_runtime, frozenset({3}))
    assert cleared == [frozenset({3})]


def test_offsets_that_begin_again_begin_a_new_term() -> None:
    held = HeldPartitions()
    held.begin([0])
    message = Message("run", b"{}")
    assert held.put([(0, 7, message), (0, 8, message)])
    before = held.take(9)
    # The topic was made anew; a partition that is not held brings nothing.
    assert held.put([(0, 0, message), (1, 0, message)])
    (after,) = held.take(9)
    held.settle(before)
    assert held.find_moved() == []
    held.settle([after])
    ((term, mark),) = held.find_moved()
    assert (term.partition, mark) == (0, 1)


def test_what_is_being_given_up_is_settled_but_not_handed_out() -> None:
    held = HeldPartitions()
    held.begin([0, 1])
    message = Message("run", b"{}")
    held.put([(0, 4, message), (0, 5, message), (1, 3, message)])
    (first,) = held.take(1)
    terms = held.close([0, 2])
    assert [delivery.partition for delivery in held.take(9)] == [1]
    held.settle([first])
    assert [mark for _, mark in held.find_moved(terms)] == [5]
    held.end([0])
    assert held.partitions == [1]
    assert not held.put([(0, 6, message)])
