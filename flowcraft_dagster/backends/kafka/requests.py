"""Requests to start runs, in a topic that everybody reads by explicit offsets."""

from __future__ import annotations

from collections.abc import Sequence

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin, TopicFacts
from flowcraft_dagster.backends.kafka.producer import KafkaProducer, Record
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.lost_requests import MADE_ANEW, TOO_OLD, name_lost
from flowcraft_dagster.backends.request_ranges import plan_ranges
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import RequestRange, RunRequest


class KafkaRequestQueue:
    """A ``RequestQueue`` on a Kafka topic.

    Args:
        settings: where and how.
        producer: shared with the other queues.
        admin: shared with the other queues.
        reader: shared with the dead letters.
    """

    def __init__(
        self, settings: KafkaSettings, producer: KafkaProducer, admin: KafkaAdmin, reader: KafkaReader
    ) -> None:
        self._topic = settings.requests_topic
        self._producer = producer
        self._admin = admin
        self._reader = reader

    async def send_requests(self, values: Sequence[bytes]) -> None:
        """See ``RequestQueue.send_requests``. Raises QueueUnavailable and SizeLimitExceeded."""
        await self._producer.send(self._topic, [Record(None, value) for value in values])

    async def find_ranges(self, positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        """See ``RequestQueue.find_ranges``. Raises QueueUnavailable."""
        facts = await self._describe()
        ends = await self._admin.read_ends(self._topic, facts.partitions)
        known = positions if topic_id in (None, facts.topic_id) else {}
        return plan_ranges(facts.topic_id, known, ends, limit)

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """See ``RequestQueue.read_requests``."""
        await self._require_topic(requests)
        ends = await self._admin.read_ends(self._topic, [requests.partition])
        first, _ = ends[requests.partition]
        if first > requests.start:
            raise name_lost(requests, TOO_OLD, queue=self._topic, end=first)
        messages = await self._reader.read(self._topic, requests.partition, requests.start, requests.end)
        # Once more: what was read of a topic that was made anew meanwhile has other ids.
        await self._require_topic(requests)
        return tuple(RunRequest(requests.partition, message.offset(), message.value() or b"") for message in messages)

    async def _describe(self) -> TopicFacts:
        facts = await self._admin.describe_topic(self._topic)
        if facts is None:
            raise QueueUnavailable("the topic does not exist; make it with 'flowcraft-dagster init'", queue=self._topic)
        return facts

    async def _require_topic(self, requests: RequestRange) -> None:
        facts = await self._describe()
        if facts.topic_id != requests.topic_id:
            raise name_lost(requests, MADE_ANEW, queue=self._topic)
