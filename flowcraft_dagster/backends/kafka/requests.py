"""Requests to start runs, in a topic that everybody reads by explicit offsets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.producer import KafkaProducer, Record
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import RequestRange, RunRequest

logger = logging.getLogger(__name__)


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
        self._settings = settings
        self._producer = producer
        self._admin = admin
        self._reader = reader

    async def send_requests(self, values: Sequence[bytes]) -> None:
        """See ``RequestQueue.send_requests``. Raises QueueUnavailable and SizeLimitExceeded."""
        await self._producer.send(self._settings.requests_topic, [Record(None, value) for value in values])

    async def find_ranges(self, positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        """See ``RequestQueue.find_ranges``. Raises QueueUnavailable."""
        topic = self._settings.requests_topic
        facts = await self._admin.describe_topic(topic)
        if facts is None:
            raise QueueUnavailable("the topic does not exist; make it with 'flowcraft-dagster init'", queue=topic)
        ends = await self._admin.read_ends(topic, facts.partitions)
        known = positions if topic_id in (None, facts.topic_id) else {}
        return plan_ranges(facts.topic_id, known, ends, limit)

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """See ``RequestQueue.read_requests``."""
        topic = self._settings.requests_topic
        facts = await self._admin.describe_topic(topic)
        if facts is None or facts.topic_id != requests.topic_id:
            raise QueueUnavailable("the topic was made anew; the requests asked for are gone", queue=topic)
        messages = await self._reader.read(topic, requests.partition, requests.start, requests.end)
        return tuple(RunRequest(requests.partition, message.offset(), message.value() or b"") for message in messages)


def plan_ranges(
    topic_id: str, positions: Mapping[int, int], ends: Mapping[int, tuple[int, int]], limit: int
) -> list[RequestRange]:
    """Choose what to read next, a fair share from every partition.

    Args:
        topic_id: identity of the topic.
        positions: the next offset by partition; a partition without one starts at its beginning.
        ends: first offset and the offset behind the last, by partition.
        limit: how many requests at most.

    Example:
        >>> plan_ranges("t", {0: 3}, {0: (5, 9)}, 10)
        [RequestRange(topic_id='t', partition=0, start=5, end=9, lost=2)]
    """
    starts: dict[int, int] = {}
    lost: dict[int, int] = {}
    for partition, (first, behind) in sorted(ends.items()):
        position = positions.get(partition, first)
        if position > behind:
            # The log was cut back: reading again is safe, reading on would skip what comes next.
            logger.warning("requests partition %d ends at %d, before position %d", partition, behind, position)
            position = first
        starts[partition] = max(first, position)
        lost[partition] = max(0, first - position)
    waiting = {partition: ends[partition][1] - start for partition, start in starts.items()}
    shares = _share(waiting, limit)
    return [
        RequestRange(topic_id, partition, start, start + shares[partition], lost[partition])
        for partition, start in starts.items()
        if shares[partition] or lost[partition]
    ]


def _share(waiting: Mapping[int, int], limit: int) -> dict[int, int]:
    """Divide ``limit`` among partitions, giving what one does not need to the others."""
    shares = dict.fromkeys(waiting, 0)
    left = limit
    # Those with least go first, so that what they leave over reaches the others.
    order = sorted(waiting, key=lambda partition: (waiting[partition], partition))
    for place, partition in enumerate(order):
        shares[partition] = min(waiting[partition], left // (len(order) - place))
        left -= shares[partition]
    return shares
