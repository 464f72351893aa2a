"""The job queue on a Kafka topic."""

from __future__ import annotations

from collections.abc import Sequence

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.consumer import KafkaJobConsumer
from flowcraft_dagster.backends.kafka.messages import encode_message
from flowcraft_dagster.backends.kafka.producer import KafkaProducer
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import Message


class KafkaJobQueue:
    """A ``JobQueue``: one topic, keyed by run, read by one consumer group.

    Args:
        settings: where and how.
        producer: shared with the other queues.
        admin: shared with the other queues.
    """

    def __init__(self, settings: KafkaSettings, producer: KafkaProducer, admin: KafkaAdmin) -> None:
        self._settings = settings
        self._producer = producer
        self._admin = admin

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``JobQueue.send``."""
        await self._producer.send(self._settings.jobs_topic, [encode_message(message) for message in messages])

    def open_consumer(self, slot: str, worker_id: str) -> KafkaJobConsumer:
        """See ``JobQueue.open_consumer``; two workers at once in one slot put each other out."""
        return KafkaJobConsumer(self._settings, slot, worker_id)

    async def measure_lag(self) -> int:
        """See ``JobQueue.measure_lag``. Raises QueueUnavailable."""
        topic = self._settings.jobs_topic
        facts = await self._admin.describe_topic(topic)
        if facts is None:
            raise QueueUnavailable("the topic does not exist; make it with 'flowcraft-dagster init'", queue=topic)
        stored = await self._admin.read_committed(topic, facts.partitions)
        ends = await self._admin.read_ends(topic, facts.partitions)
        return sum(
            behind - min(behind, max(first, stored.get(number, first))) for number, (first, behind) in ends.items()
        )
