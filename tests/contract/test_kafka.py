"""The Kafka queues pass their suites on a real broker."""

from __future__ import annotations

import pytest

from flowcraft_dagster.backends.kafka.consumer import KafkaJobConsumer
from flowcraft_dagster.ports.queue import JobConsumer
from flowcraft_dagster.testing.contracts import DeadLettersContract, JobQueueContract, RequestQueueContract
from tests.contract.real_servers import REVOKE_SECONDS, WithTopics

pytestmark = pytest.mark.kafka


class TestJobs(WithTopics, JobQueueContract):
    revoke_seconds = REVOKE_SECONDS

    async def kill_consumer(self, consumer: JobConsumer) -> None:
        assert isinstance(consumer, KafkaJobConsumer)
        consumer.kill()


class TestDeadLetters(WithTopics, DeadLettersContract):
    pass


class TestRequests(WithTopics, RequestQueueContract):
    pass
