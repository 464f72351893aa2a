"""Reading a piece of a topic by explicit offsets, outside any consumer group."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flowcraft_dagster.backends.kafka import complaints
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.troubles import SILENCE, Troubles, make_client
from flowcraft_dagster.errors import QueueUnavailable

BATCH_MESSAGES = 500
POLL_SECONDS = 0.1


class KafkaReader:
    """Reads one piece at a time, on a thread of the loop's pool; the client is made at the first one.

    Args:
        settings: where and how.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()
        self._troubles = Troubles(settings, complaints.report_error)

    async def read(self, topic: str, partition: int, start: int, end: int) -> list[Any]:
        """The messages of ``[start, end)``, in order; fewer only where offsets have gaps.

        Raises:
            QueueUnavailable: not everything could be read.
        """
        if start >= end:
            return []
        return await asyncio.to_thread(self._read, topic, partition, start, end)

    async def close(self) -> None:
        """Let go of the client; harmless when there is none."""
        await asyncio.to_thread(self._close)

    def _read(self, topic: str, partition: int, start: int, end: int) -> list[Any]:
        with self._lock:
            if self._consumer is None:
                config = {**self._settings.as_reader(), "error_cb": self._troubles.note}
                self._consumer = make_client(lambda: Consumer(config, logger=complaints.client_logger), self._settings)
            try:
                self._consumer.assign([TopicPartition(topic, partition, start)])
                try:
                    return self._collect(self._consumer, topic, start, end)
                finally:
                    self._consumer.unassign()
            except KafkaException as error:
                raise QueueUnavailable(str(error.args[0]), queue=topic) from None

    def _collect(self, consumer: Consumer, topic: str, start: int, end: int) -> list[Any]:
        found: list[Any] = []
        until = time.monotonic() + self._settings.request_seconds
        silence = f"offsets {start} to {end} could not be read in time"
        while True:
            for message in consumer.consume(BATCH_MESSAGES, POLL_SECONDS):
                offset = message.offset() or 0
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        if offset >= end:
                            return found
                        raise QueueUnavailable(f"partition ends at offset {offset}, before {end}", queue=topic)
                    if error.code() in SILENCE:
                        continue
                    raise self._troubles.explain(topic, error, silence)
                self._troubles.forget()
                until = time.monotonic() + self._settings.request_seconds
                if offset >= end:
                    return found
                found.append(message)
                if offset == end - 1:
                    return found
            if time.monotonic() > until:
                raise self._troubles.explain(topic, None, silence)

    def _close(self) -> None:
        with self._lock:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                consumer.close()
