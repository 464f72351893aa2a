"""What only Kafka has: strangers' messages, slots, topics that are made anew."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from confluent_kafka import Consumer

from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka import polling
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.consumer import KafkaJobConsumer
from flowcraft_dagster.backends.kafka.messages import encode_text
from flowcraft_dagster.backends.kafka.producer import KafkaProducer, Record
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.queue import JobConsumer
from flowcraft_dagster.ports.records import Delivery, Message
from tests.contract.conftest import Servers
from tests.contract.real_servers import eventually

pytestmark = pytest.mark.kafka

PATIENCE = 30.0


@pytest.fixture
def settings(servers: Servers) -> KafkaSettings:
    name = f"test-{uuid.uuid4().hex[:10]}"
    return KafkaSettings(
        brokers=servers.brokers,
        jobs_topic=name,
        letters_topic=f"{name}.dlq",
        requests_topic=f"{name}.requests",
        group_id=f"{name}-group",
        partitions=2,
        session_seconds=1.5,
        revoke_seconds=1,
        delivery_seconds=5,
        commit_seconds=0.2,
    )


def run_on(settings: KafkaSettings, scenario: Callable[[KafkaBackend], Awaitable[None]]) -> None:
    async def drive() -> None:
        backend = KafkaBackend(settings)
        admin = KafkaAdmin(settings)
        await admin.create_topics()
        await admin.close()
        try:
            await scenario(backend)
        finally:
            await backend.close()

    asyncio.run(drive())


async def let_go(partitions: frozenset[int], seconds: float) -> None:
    pass


async def fetch(consumer: JobConsumer, count: int) -> list[Delivery]:
    found: list[Delivery] = []

    async def collect() -> None:
        while len(found) < count:
            found.extend(await consumer.fetch(100))

    await asyncio.wait_for(collect(), PATIENCE)
    return found


def test_strangers_messages_are_delivered_as_they_are(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        strange = [
            Record(None, b"no key", partition=0),
            Record(b"no value", None, partition=0),
            Record(b"\xff\xfe", b"\x00 not JSON", (("h", b"\xff"), ("h", b"last")), partition=0),
        ]
        producer = KafkaProducer(settings)
        await producer.send(settings.jobs_topic, strange)
        await producer.close()
        consumer = backend.jobs.open_consumer("slot", "worker")
        await consumer.start(let_go)
        messages = [delivery.message for delivery in await fetch(consumer, 3)]
        await consumer.close()
        assert [message.key for message in messages[:2]] == ["", "no value"]
        assert [message.value for message in messages] == [b"no key", b"", b"\x00 not JSON"]
        assert encode_text(messages[2].key) == b"\xff\xfe"
        assert messages[2].headers == {"h": "last"}

    run_on(settings, scenario)


def test_a_second_worker_in_a_slot_puts_the_first_out(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        first = backend.jobs.open_consumer("slot", "one")
        await first.start(let_go)
        await backend.jobs.send([Message("k", b"1")])
        await fetch(first, 1)
        second = backend.jobs.open_consumer("slot", "two")
        await second.start(let_go)

        async def until_dead() -> None:
            while True:
                await first.fetch(1)

        with pytest.raises(QueueUnavailable, match="another worker has taken this slot") as ended:
            await asyncio.wait_for(until_dead(), PATIENCE)
        assert ended.value.fatal is True
        assert [delivery.message.value for delivery in await fetch(second, 1)] == [b"1"]
        await first.close()
        await second.close()

    run_on(settings, scenario)


def test_a_restarted_worker_has_its_partitions_back_at_once(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        slow = settings.model_copy(update={"session_seconds": 20.0})
        other = KafkaBackend(slow)
        consumer = other.jobs.open_consumer("slot", "one")
        await consumer.start(let_go)
        await backend.jobs.send([Message("k", b"1")])
        await fetch(consumer, 1)
        await consumer.close()
        again = other.jobs.open_consumer("slot", "two")
        await again.start(let_go)
        start = asyncio.get_running_loop().time()
        await fetch(again, 1)
        assert asyncio.get_running_loop().time() - start < 10
        await again.close()
        await other.close()

    run_on(settings, scenario)


@pytest.mark.parametrize("most", [1, 20])
def test_a_full_buffer_pauses_and_loses_nothing(settings: KafkaSettings, most: int) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        values = [f"{place}".encode() for place in range(20)]
        small = KafkaBackend(settings.model_copy(update={"buffer_messages": most}))
        consumer = small.jobs.open_consumer("slot", "worker")
        await consumer.start(let_go)
        found: list[Delivery] = []
        for _ in range(3):
            await backend.jobs.send([Message("k", value) for value in values])
            found += await fetch(consumer, 20)
        assert [delivery.message.value for delivery in found] == 3 * values
        await consumer.close()
        await small.close()

    run_on(settings, scenario)


def test_a_paused_consumer_goes_on_fetching_until_its_buffer_is_full(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        consumer = backend.jobs.open_consumer("slot", "worker")
        assert isinstance(consumer, KafkaJobConsumer)
        await consumer.start(let_go)
        await backend.jobs.send([Message("k", b"first")])
        await fetch(consumer, 1)
        consumer.pause()
        values = [f"{place}".encode() for place in range(100)]
        await backend.jobs.send([Message("k", value) for value in values])

        async def has_arrived() -> bool:
            return consumer._held.waiting == len(values)

        await eventually(has_arrived)
        assert not await consumer.fetch(100)
        assert consumer._polling is not None
        assert not consumer._polling.is_paused
        consumer.resume()
        assert [delivery.message.value for delivery in await consumer.fetch(100)] == values
        await consumer.close()

    run_on(settings, scenario)


def test_partitions_with_a_full_buffer_go_to_another_one_and_come_back(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        values = {f"{place}".encode() for place in range(200)}
        await backend.jobs.send([Message(value.decode(), value) for value in values])
        small = KafkaBackend(settings.model_copy(update={"buffer_messages": 10}))
        first = small.jobs.open_consumer("one", "worker-1")
        assert isinstance(first, KafkaJobConsumer)
        await first.start(let_go)
        first.pause()

        async def is_full() -> bool:
            return first._polling is not None and first._polling.is_paused and len(first._held.partitions) == 2

        await eventually(is_full)
        second = backend.jobs.open_consumer("two", "worker-2")
        await second.start(let_go)
        seen = {delivery.message.value for delivery in await fetch(second, 1)}

        async def has_one_each() -> bool:
            seen.update(delivery.message.value for delivery in await second.fetch(1000))
            return len(first._held.partitions) == 1 and not await second.fetch(1)

        await eventually(has_one_each)
        first.resume()
        mine = await fetch(first, len(values - seen))
        assert {delivery.message.value for delivery in mine} == values - seen
        first.settle(mine)
        # It has settled nothing: all of its messages come back, and those that are sent from now on.
        await second.close()
        await backend.jobs.send([Message(value.decode(), b"again " + value) for value in values])
        rest = await fetch(first, len(seen) + len(values))
        assert {delivery.message.value for delivery in rest} == seen | {b"again " + value for value in values}
        await first.close()
        await small.close()

    run_on(settings, scenario)


def test_a_partition_that_is_no_longer_fetched_is_taken_up_anew(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    due = threading.Event()

    class Stopping(Consumer):
        """Stops fetching as a race within librdkafka does: nobody outside of it knows."""

        def poll(self, timeout: float = -1) -> Any:
            if due.is_set():
                due.clear()
                self.pause(self.assignment())
            return super().poll(timeout)

    monkeypatch.setattr(polling, "Consumer", Stopping)
    monkeypatch.setattr(polling, "INTERVAL_SECONDS", 0.3)

    async def scenario(backend: KafkaBackend) -> None:
        consumer = backend.jobs.open_consumer("slot", "worker")
        await consumer.start(let_go)
        keys = [f"{place}" for place in range(20)]
        await backend.jobs.send([Message(key, b"before") for key in keys])
        consumer.settle(await fetch(consumer, len(keys)))
        due.set()

        async def has_stopped() -> bool:
            return not due.is_set()

        await eventually(has_stopped)
        await backend.jobs.send([Message(key, b"after") for key in keys])
        found = await fetch(consumer, len(keys))
        assert sorted(delivery.message.key for delivery in found) == sorted(keys)
        assert {delivery.message.value for delivery in found} == {b"after"}
        consumer.settle(found)
        await consumer.close()

    with caplog.at_level("WARNING"):
        run_on(settings, scenario)
    assert "taken up anew" in caplog.text


def test_a_missing_topic_is_named(settings: KafkaSettings) -> None:
    async def drive() -> None:
        backend = KafkaBackend(settings)
        try:
            with pytest.raises(QueueUnavailable, match="does not exist; make it with 'flowcraft-dagster init'"):
                await backend.jobs.measure_lag()
            with pytest.raises(QueueUnavailable, match="does not exist"):
                await backend.requests.find_ranges({}, None, 1)
            assert await backend.dead_letters.list_letters(5) == ()
        finally:
            await backend.close()

    asyncio.run(drive())


def test_a_broker_that_is_away_is_an_error_in_time(settings: KafkaSettings) -> None:
    async def drive() -> None:
        away = settings.model_copy(
            update={"brokers": ("127.0.0.1:1",), "delivery_seconds": 1.0, "request_seconds": 1.0}
        )
        backend = KafkaBackend(away)
        consumer = backend.jobs.open_consumer("slot", "worker")
        await consumer.start(let_go)
        try:
            with pytest.raises(QueueUnavailable):
                await asyncio.wait_for(backend.jobs.send([Message("k", b"1")]), PATIENCE)
            with pytest.raises(QueueUnavailable):
                await asyncio.wait_for(backend.jobs.measure_lag(), PATIENCE)
            assert await consumer.fetch(1) == ()
        finally:
            await consumer.close()
            await backend.close()

    asyncio.run(drive())
