"""Topics, offsets and the cluster: everything that is asked of Kafka beside messages."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.troubles import Troubles, make_client
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.timeouts import await_within

_PASSING = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
_PAUSE_SECONDS = 0.1
_HEARD_ERRORS = 100


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the cluster says of a topic.

    Attributes:
        topic_id: changes when the topic is made anew.
        partitions: their numbers.
        replication: copies of each partition.
    """

    topic_id: str
    partitions: tuple[int, ...]
    replication: int


class KafkaAdmin:
    """Administrative requests; the client is made at the first one.

    Args:
        settings: where and how.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AdminClient | None = None
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()
        self._troubles = Troubles(settings)

    async def close(self) -> None:
        """Let go of the clients; harmless when there are none."""
        self._client = None
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await asyncio.to_thread(consumer.close)

    async def create_topics(self) -> list[str]:
        """Make the topics that are missing; returns their names."""
        made: list[str] = []
        settings = self._settings
        wanted = {
            settings.jobs_topic: settings.partitions,
            settings.requests_topic: settings.partitions,
            settings.letters_topic: 1,
        }
        for name, partitions in wanted.items():
            if await self.describe_topic(name) is None and await self._create_topic(name, partitions):
                made.append(f"topic {name}")
        return made

    async def delete_topics(self) -> None:
        """Delete the topics that :meth:`create_topics` makes."""
        settings = self._settings
        for name in (settings.jobs_topic, settings.requests_topic, settings.letters_topic):
            if await self.describe_topic(name) is not None:
                await self.delete_topic(name)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with everything in it; it is gone a moment later."""
        futures = self._require().delete_topics([name], request_timeout=self._settings.request_seconds)
        await self._answer(name, futures[name])

    async def describe_topic(self, name: str) -> TopicFacts | None:
        """A topic's facts; None when there is no such topic."""
        futures = self._require().describe_topics(
            TopicCollection(topic_names=[name]), request_timeout=self._settings.request_seconds
        )
        try:
            found = await self._answer(name, futures[name])
        except QueueUnavailable as error:
            if error.fields.get("code") == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        partitions = sorted(found.partitions, key=lambda partition: partition.id)
        replication = len(partitions[0].replicas) if partitions else 0
        # Written as Kafka's own tools do: without the slashes of librdkafka's form.
        topic_id = str(found.topic_id).replace("+", "-").replace("/", "_")
        return TopicFacts(topic_id, tuple(partition.id for partition in partitions), replication)

    async def read_ends(self, name: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """First offset and the offset behind the last message, by partition; open transactions are not there yet."""
        numbers = list(partitions)
        first, behind = await asyncio.gather(
            self._list_offsets(name, numbers, OffsetSpec.earliest()),  # type: ignore[no-untyped-call]
            self._list_offsets(name, numbers, OffsetSpec.latest()),  # type: ignore[no-untyped-call]
        )
        return {number: (first[number], behind[number]) for number in numbers}

    async def read_committed(self, name: str, partitions: Iterable[int]) -> dict[int, int]:
        """The worker group's stored offset by partition; partitions without one are left out."""
        return await asyncio.to_thread(self._read_committed, name, list(partitions))

    async def describe_cluster(self) -> str:
        """Id and size of the cluster, in one line."""
        future = self._require().describe_cluster(request_timeout=self._settings.request_seconds)
        found = await self._answer("cluster", future)
        return f"Kafka cluster {found.cluster_id}, {len(found.nodes)} broker(s)"

    def _read_committed(self, name: str, numbers: list[int]) -> dict[int, int]:
        # By a consumer that never subscribes: the administrative request for this ends the process (segmentation
        # fault, confluent-kafka 2.16) while the cluster is still making its offsets topic.
        config = {
            **self._settings.as_reader(),
            "group.id": self._settings.group_id,
            "log_level": 0,
            "error_cb": self._troubles.note,
        }
        places = [TopicPartition(name, number) for number in numbers]
        with self._lock:
            try:
                if self._consumer is None:
                    self._consumer = make_client(lambda: Consumer(config), self._settings)
                found = self._consumer.committed(places, timeout=self._settings.request_seconds)
            except KafkaException as error:
                if self._consumer is not None:
                    self._hear(self._consumer)
                raise self._explain(name, error) from None
        self._troubles.forget()
        return {place.partition: place.offset for place in found if place.error is None and place.offset >= 0}

    def _hear(self, consumer: Consumer) -> None:
        """Find out why a group was not asked: that only comes as an error among messages, of which there are none."""
        for message in consumer.consume(_HEARD_ERRORS, _PAUSE_SECONDS):
            error = message.error()
            if error is not None:
                self._troubles.note(error)

    async def _create_topic(self, name: str, partitions: int) -> bool:
        topic = NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=self._settings.replication_factor,
            config={
                "retention.ms": str(self._settings.retention_hours * 3_600_000),
                "cleanup.policy": "delete",
                "min.insync.replicas": "2" if self._settings.replication_factor >= 3 else "1",
            },
        )
        futures = self._require().create_topics([topic], request_timeout=self._settings.request_seconds)
        try:
            await self._answer(name, futures[name])
        except QueueUnavailable as error:
            if error.fields.get("code") == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise
        return True

    async def _list_offsets(self, name: str, numbers: list[int], spec: Any) -> dict[int, int]:
        """Offsets by partition. A partition whose leader is being chosen, or was just made, answers a moment later."""
        deadline = time.monotonic() + self._settings.request_seconds
        while True:
            try:
                return await self._ask_offsets(name, numbers, spec)
            except QueueUnavailable as error:
                if error.fields.get("code") not in _PASSING or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask_offsets(self, name: str, numbers: list[int], spec: Any) -> dict[int, int]:
        futures = self._require().list_offsets(
            {TopicPartition(name, number): spec for number in numbers},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self._settings.request_seconds,
        )
        places = list(futures)
        answers = await asyncio.gather(*(self._answer(name, futures[place]) for place in places))
        return {place.partition: answer.offset for place, answer in zip(places, answers, strict=True)}

    def _require(self) -> AdminClient:
        if self._client is None:
            config = {**self._settings.as_admin(), "error_cb": self._troubles.note}
            self._client = make_client(lambda: AdminClient(config), self._settings)
        return self._client

    async def _answer(self, name: str, future: concurrent.futures.Future[Any]) -> Any:
        try:
            answer = await await_within(asyncio.wrap_future(future), self._settings.request_seconds + 5.0)
        except KafkaException as error:
            raise self._explain(name, error) from None
        except asyncio.TimeoutError:
            raise self._explain(name, None) from None
        self._troubles.forget()
        return answer

    def _explain(self, name: str, error: KafkaException | None) -> QueueUnavailable:
        cause = error.args[0] if error is not None and error.args else error
        if cause is not None and not isinstance(cause, KafkaError):
            return QueueUnavailable(str(cause), queue=name)
        # Hands over what the client has met meanwhile.
        if self._client is not None:
            self._client.poll(0)
        silence = f"no answer from {self._settings.describe()} within {self._settings.request_seconds:g} s"
        return self._troubles.explain(name, cause, silence)
