"""Sending messages and knowing that they are stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from flowcraft_dagster.backends.kafka import complaints
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.troubles import Troubles, make_client
from flowcraft_dagster.errors import QueueUnavailable, SizeLimitExceeded

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
FLUSH_SECONDS = 5.0
FULL_QUEUE_PAUSE = 0.01
DEFAULT_MAX_BYTES = 1_000_000
"""librdkafka's ``message.max.bytes``."""


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it is sent.

    Attributes:
        key: decides the partition; None for any.
        value: None for a marker.
        headers: by name.
        partition: None lets the key decide.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


@dataclass(eq=False, slots=True)
class _Sending:
    """Messages that are waited for together."""

    done: asyncio.Future[None]
    left: int
    failure: Any = field(default=None)

    def settle(self, error: Any) -> None:
        self.left -= 1
        if error is not None and self.failure is None:
            self.failure = error
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class KafkaProducer:
    """One idempotent producer for all topics, made at the first message.

    Delivery reports arrive on a thread that only polls; they are gathered and handed to the loop together.

    Args:
        settings: where and how.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._fatal: tuple[Producer, Any] | None = None
        self._stop = threading.Event()
        self._troubles = Troubles(settings, complaints.report_error)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reports: deque[tuple[_Sending, Any]] = deque()
        self._handover = threading.Lock()
        self._handover_due = False

    async def send(self, topic: str, records: Sequence[Record]) -> None:
        """Append records to a topic; returns when the brokers have stored all of them.

        Raises:
            QueueUnavailable: some were not stored in time; the others may have been.
            SettingsError: librdkafka refuses the options.
            SizeLimitExceeded: one is larger than the broker takes.
        """
        if not records:
            return
        producer = self._require()
        sending = _Sending(asyncio.get_running_loop().create_future(), len(records))

        def report(error: KafkaError | None, message: Any) -> None:
            self._take(sending, error)

        for place, record in enumerate(records):
            try:
                await self._produce(producer, topic, record, report)
            except BaseException:
                # The rest is not sent; what was sent settles without anybody waiting.
                sending.left -= len(records) - place
                raise
        await sending.done
        if sending.failure is not None:
            if sending.failure.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                largest = max(len(record.value or b"") for record in records)
                raise SizeLimitExceeded(what="the message", size=largest, limit=f"topic {topic}, max.message.bytes")
            self._fail(topic, sending.failure)
        self._troubles.forget()

    async def close(self) -> None:
        """Wait a moment for what is under way, then let go; harmless when nothing was sent."""
        producer, thread = self._producer, self._thread
        self._producer = self._thread = None
        if producer is None or thread is None:
            return
        with contextlib.suppress(KafkaException):
            # Raises what is fatal, which the sender was told.
            await asyncio.to_thread(producer.flush, FLUSH_SECONDS)
        producer.purge()
        self._stop.set()
        await asyncio.to_thread(thread.join)

    def _require(self) -> Producer:
        loop = asyncio.get_running_loop()
        if self._producer is None:
            config = {**self._settings.as_producer(), "error_cb": self._troubles.note}
            self._producer = make_client(lambda: Producer(config, logger=complaints.client_logger), self._settings)
            self._loop = loop
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._poll, args=(self._producer, self._stop), name="flowcraft-producer", daemon=True
            )
            self._thread.start()
        return self._producer

    async def _produce(self, producer: Producer, topic: str, record: Record, report: Any) -> None:
        until = asyncio.get_running_loop().time() + self._settings.delivery_seconds
        while True:
            try:
                producer.produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=-1 if record.partition is None else record.partition,
                    on_delivery=report,
                )
            except BufferError:
                if asyncio.get_running_loop().time() > until:
                    raise QueueUnavailable("too many messages wait for the broker", queue=topic) from None
                await asyncio.sleep(FULL_QUEUE_PAUSE)
            except KafkaException as error:
                cause = error.args[0]
                if cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    limit = self._settings.options.get("message.max.bytes", DEFAULT_MAX_BYTES)
                    raise SizeLimitExceeded(what="the message", size=len(record.value or b""), limit=limit) from None
                self._fail(topic, cause)
            else:
                return

    def _fail(self, topic: str, error: Any) -> None:
        """Raise what a delivery report said, or what ended the whole producer."""
        if self._fatal is not None and self._fatal[0] is self._producer:
            error = self._fatal[1]
        if complaints.is_fatal(error):
            # This producer cannot go on; the next message gets a new one.
            logger.warning("the producer is replaced: %s", error.str())
            self._stop.set()
            self._producer = self._thread = None
        if error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
            raise QueueUnavailable("the topic does not exist; make it with 'flowcraft-dagster init'", queue=topic)
        silence = f"no answer from {self._settings.describe()} within {self._settings.delivery_seconds:g} s"
        raise self._troubles.explain(topic, error, silence)

    def _poll(self, producer: Producer, stop: threading.Event) -> None:
        # Every message gets its report, also those of a producer that is being replaced.
        while not stop.is_set() or len(producer) > 0:
            try:
                producer.poll(POLL_SECONDS)
            except KafkaException as error:
                # What is fatal is raised, not called back; nothing that waits will be sent any more.
                self._fatal = (producer, error.args[0])
                complaints.report_error(error.args[0])
                producer.purge()
                stop.wait(POLL_SECONDS)

    def _take(self, sending: _Sending, error: Any) -> None:
        """Called by the polling thread."""
        loop = self._loop
        with self._handover:
            self._reports.append((sending, error))
            if self._handover_due or loop is None:
                return
            self._handover_due = True
        try:
            loop.call_soon_threadsafe(self._hand_over)
        except RuntimeError:
            logger.debug("a delivery report came after the loop was closed")

    def _hand_over(self) -> None:
        with self._handover:
            reports = list(self._reports)
            self._reports.clear()
            self._handover_due = False
        for sending, error in reports:
            sending.settle(error)
