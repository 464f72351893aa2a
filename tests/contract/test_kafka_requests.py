"""What the queue of requests does beyond the contract: topics that are made anew, cut short, or written by others."""

from __future__ import annotations

import asyncio
import random

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueUnavailable, RequestsLost, SizeLimitExceeded
from flowcraft_dagster.ports.records import RequestRange
from tests.contract.real_servers import eventually
from tests.contract.test_kafka_specifics import run_on, settings

__all__ = ["settings"]

pytestmark = pytest.mark.kafka


@pytest.fixture
def one_partition(settings: KafkaSettings) -> KafkaSettings:
    return settings.model_copy(update={"partitions": 1})


def connect(settings: KafkaSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": ",".join(settings.brokers)})


async def read_all(backend: KafkaBackend, ranges: list[RequestRange]) -> list[bytes]:
    return [request.value for piece in ranges for request in await backend.requests.read_requests(piece)]


async def make_topics_anew(settings: KafkaSettings) -> None:
    admin = KafkaAdmin(settings)
    await admin.delete_topic(settings.requests_topic)

    async def is_gone() -> bool:
        return await admin.describe_topic(settings.requests_topic) is None

    await eventually(is_gone)
    await admin.create_topics()
    await admin.close()


def test_a_topic_made_anew_is_read_from_its_beginning_by_the_same_client(
    settings: KafkaSettings,
) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        await backend.requests.send_requests([b"1", b"2", b"3"])
        ranges = await backend.requests.find_ranges({}, None, 10)
        assert sorted(await read_all(backend, ranges)) == [b"1", b"2", b"3"]
        positions = {piece.partition: piece.end for piece in ranges}
        await make_topics_anew(settings)
        await backend.requests.send_requests([b"4", b"5"])
        again = await backend.requests.find_ranges(positions, ranges[0].topic_id, 10)

        assert again[0].topic_id != ranges[0].topic_id
        assert sorted(await read_all(backend, again)) == [b"4", b"5"]
        with pytest.raises(RequestsLost, match="made anew") as lost:
            await backend.requests.read_requests(ranges[0])
        assert (lost.value.start, lost.value.end) == (ranges[0].start, ranges[0].end)

    run_on(settings, scenario)


def test_a_topic_that_is_gone_is_waited_for(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        await backend.requests.send_requests([b"1"])
        (piece,) = await backend.requests.find_ranges({}, None, 10)
        admin = KafkaAdmin(settings)
        await admin.delete_topic(settings.requests_topic)

        async def is_refused() -> bool:
            try:
                await backend.requests.read_requests(piece)
            except QueueUnavailable as error:
                return "does not exist" in str(error)
            return False

        await eventually(is_refused)
        await admin.close()

    run_on(settings, scenario)


def test_a_topic_id_is_written_as_kafka_writes_it(settings: KafkaSettings) -> None:
    # It becomes part of run ids: no slash, no plus sign.
    async def scenario(backend: KafkaBackend) -> None:
        await backend.requests.send_requests([b"1"])
        (piece,) = await backend.requests.find_ranges({}, None, 10)
        assert len(piece.topic_id) == 22
        assert set(piece.topic_id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    for _ in range(3):
        run_on(settings, scenario)
        asyncio.run(make_topics_anew(settings))


def test_what_retention_took_between_tick_and_turn_is_named_and_the_rest_is_read(
    one_partition: KafkaSettings,
) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        topic = one_partition.requests_topic
        await backend.requests.send_requests([b"%d" % n for n in range(10)])
        (piece,) = await backend.requests.find_ranges({}, None, 100)
        place = TopicPartition(topic, 0, 4)
        client = connect(one_partition)
        client.delete_records([place])[place].result(30)
        with pytest.raises(RequestsLost, match="older than the queue keeps them") as lost:
            await backend.requests.read_requests(piece)
        assert (lost.value.start, lost.value.end) == (0, 4)
        left = RequestRange(piece.topic_id, 0, 4, 10)
        assert await read_all(backend, [left]) == [b"%d" % n for n in range(4, 10)]
        assert await backend.requests.find_ranges({0: 1}, piece.topic_id, 100) == [
            RequestRange(piece.topic_id, 0, 4, 10, lost=3)
        ]
        gone = RequestRange(piece.topic_id, 0, 1, 3)
        with pytest.raises(RequestsLost) as lost:
            await backend.requests.read_requests(gone)
        assert (lost.value.start, lost.value.end) == (1, 3)

    run_on(one_partition, scenario)


def test_requests_in_transactions_are_read_when_they_are_committed(one_partition: KafkaSettings) -> None:
    topic = one_partition.requests_topic
    producer = Producer({"bootstrap.servers": ",".join(one_partition.brokers), "transactional.id": topic})

    def send(*values: bytes) -> None:
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value)
        producer.flush(30)

    async def find_piece(backend: KafkaBackend, start: int, end: int) -> RequestRange:
        """The piece that begins at ``start``, once it reaches ``end``: the mark of a transaction is written later."""
        found: list[RequestRange] = []

        async def is_there() -> bool:
            found[:] = await backend.requests.find_ranges({0: start}, None, 100)
            return [(piece.start, piece.end) for piece in found] == [(start, end)]

        await eventually(is_there)
        return found[0]

    async def scenario(backend: KafkaBackend) -> None:
        producer.init_transactions(30)
        send(b"aborted", b"aborted too")
        producer.abort_transaction(30)
        send(b"1", b"2")
        # The aborted ones and the mark behind them have offsets, but are no requests.
        aborted = await find_piece(backend, 0, 3)
        assert await backend.requests.read_requests(aborted) == ()
        assert await backend.requests.find_ranges({0: 3}, aborted.topic_id, 100) == []
        producer.commit_transaction(30)
        committed = await find_piece(backend, 3, 6)
        found = await backend.requests.read_requests(committed)
        assert [(request.offset, request.value) for request in found] == [(3, b"1"), (4, b"2")]

    run_on(one_partition, scenario)


def test_nobody_joins_a_consumer_group(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        await backend.requests.send_requests([b"1"])
        assert await read_all(backend, await backend.requests.find_ranges({}, None, 10)) == [b"1"]
        client = connect(settings)
        groups = client.list_consumer_groups().result(30).valid
        assert [group.group_id for group in groups if group.group_id.startswith(settings.group_id)] == []

    run_on(settings, scenario)


def test_a_broker_that_is_away_says_nothing_on_its_own(
    settings: KafkaSettings,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = settings.model_copy(update={"brokers": ("127.0.0.1:1",), "request_seconds": 2.0})

    async def look() -> None:
        backend = KafkaBackend(away)
        for _ in range(2):
            with pytest.raises(QueueUnavailable, match=r"requests is away: no answer from 127\.0\.0\.1:1 within 2 s$"):
                await backend.requests.find_ranges({}, None, 10)
        await backend.close()

    asyncio.run(look())
    shown = capfd.readouterr()
    assert (shown.out, shown.err, caplog.messages) == ("", "", [])


def test_too_large_a_request_is_refused_by_size(settings: KafkaSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        with pytest.raises(SizeLimitExceeded, match="2000000 bytes, over the limit"):
            await backend.requests.send_requests([b"x" * 2_000_000])
        await backend.requests.send_requests([b"small"])

    run_on(settings, scenario)


def test_a_topic_that_takes_less_refuses_by_size_too(one_partition: KafkaSettings) -> None:
    topic = NewTopic(one_partition.requests_topic, num_partitions=1, config={"max.message.bytes": "5000"})
    client = connect(one_partition)
    client.create_topics([topic])[one_partition.requests_topic].result(30)
    noise = random.Random(3).randbytes(6000)

    async def scenario(backend: KafkaBackend) -> None:
        with pytest.raises(SizeLimitExceeded, match=r"6000 bytes, over the limit of topic .+, max\.message\.bytes"):
            await backend.requests.send_requests([noise])
        await backend.requests.send_requests([b"small"])

    run_on(one_partition, scenario)
