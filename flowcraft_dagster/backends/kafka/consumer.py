"""One member of the worker group.

A thread owns librdkafka's consumer: it polls, stores offsets and answers rebalances, and runs nothing else, so that
a node may take hours without the group noticing. What it received crosses to the asyncio loop in batches; what the
loop wants of it (settle, pause, close) it finds in plain attributes under one lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flowcraft_dagster.backends.kafka import complaints
from flowcraft_dagster.backends.kafka.messages import decode_message
from flowcraft_dagster.backends.kafka.offsets import Term
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.standstill import INTERVAL_SECONDS, StandstillWatch
from flowcraft_dagster.backends.kafka.troubles import advise, make_client
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.queue import Revoked
from flowcraft_dagster.ports.records import Delivery
from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
FETCH_SECONDS = 1.0
LOOK_SECONDS = 1.0
ONE_PARTITION = (
    "topic %s has one partition, so only one worker at a time gets work. For more: "
    "kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic %s --partitions 12"
)
BATCH_MESSAGES = 500
CLOSE_SECONDS = 15.0
GRACE_SECONDS = 1.0
"""What a revoke callback may take beyond its deadline to clear up; then it is cancelled."""


@dataclass(frozen=True, slots=True)
class KafkaDelivery(Delivery):
    """A delivery that knows in which term it was made."""

    term: Term = field(kw_only=True, compare=False, repr=False)


class KafkaJobConsumer:
    """A ``JobConsumer`` on a Kafka topic.

    Args:
        settings: where and how.
        slot: stable name of the place that the worker fills.
        worker_id: incarnation id, for logs.
    """

    def __init__(self, settings: KafkaSettings, slot: str, worker_id: str) -> None:
        self._settings = settings
        self._slot = slot
        self._worker_id = worker_id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_revoked: Revoked | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        self._news = asyncio.Event()
        # Shared with the thread, under the lock.
        self._lock = threading.Lock()
        self._ready: deque[KafkaDelivery] = deque()
        self._terms: dict[int, Term] = {}
        self._wants_pause = False
        self._closing = False
        self._killed = False
        self._failure: QueueUnavailable | None = None
        # Of the thread alone.
        self._is_paused = False
        self._watch = StandstillWatch(settings.jobs_topic)
        self._fatal: Any = None

    async def start(self, on_revoked: Revoked) -> None:
        """See ``JobConsumer.start``. Returns before partitions are assigned.

        Raises:
            SettingsError: librdkafka refuses the options.
        """
        self._loop = asyncio.get_running_loop()
        self._on_revoked = on_revoked
        config = {
            **self._settings.as_consumer(self._slot),
            "error_cb": self._on_error,
            "on_commit": self._after_commit,
        }
        consumer = make_client(lambda: Consumer(config, logger=complaints.client_logger), self._settings)
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._live, args=(consumer,), name=f"flowcraft-consumer-{self._slot}", daemon=True
        )
        self._thread.start()

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See ``JobConsumer.fetch``; answers with nothing after a second without messages.

        Raises:
            QueueUnavailable: the consumer is dead (``fatal`` is true): another worker has taken the slot, or the
                group refuses this one. A broker that is away raises nothing.
        """
        found = self._collect(limit)
        if not found:
            try:
                await await_within(self._news.wait(), FETCH_SECONDS)
            except asyncio.TimeoutError:
                return ()
            found = self._collect(limit)
        return found

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """See ``JobConsumer.settle``."""
        with self._lock:
            for delivery in deliveries:
                if isinstance(delivery, KafkaDelivery) and not delivery.term.is_over:
                    delivery.term.offsets.settle(delivery.offset)

    def pause(self) -> None:
        """See ``JobConsumer.pause``; what was fetched already is kept back too."""
        with self._lock:
            self._wants_pause = True

    def resume(self) -> None:
        """See ``JobConsumer.resume``."""
        with self._lock:
            self._wants_pause = False
        self._news.set()

    async def close(self) -> None:
        """See ``JobConsumer.close``; the revoke callback is not called.

        A static member leaves its place reserved until the session ends, for the worker that comes back.
        """
        with self._lock:
            self._closing = True
        self._news.set()
        if self._ended is None:
            return
        done, _ = await asyncio.wait([self._ended], timeout=CLOSE_SECONDS)
        if not done:
            logger.warning("the consumer of slot '%s' does not end; it is left behind", self._slot)

    def kill(self) -> None:
        """Die as a killed process does: nothing more is stored, and the group is not told."""
        with self._lock:
            self._killed = self._closing = True
        self._end_terms(self._terms.keys())
        self._news.set()

    def _collect(self, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            if self._closing or self._wants_pause:
                return found
            while self._ready and len(found) < limit:
                delivery = self._ready.popleft()
                if delivery.term.is_open:
                    found.append(delivery)
            if self._ready:
                self._news.set()
        return found

    # From here on everything runs on the consumer's thread.

    def _live(self, consumer: Consumer) -> None:
        try:
            self._warn_of_one_partition(consumer)
            consumer.subscribe(
                [self._settings.jobs_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            store_due = time.monotonic() + self._settings.commit_seconds
            look_due = time.monotonic() + INTERVAL_SECONDS
            while not self._closing:
                self._receive(consumer)
                self._apply_pause(consumer)
                if time.monotonic() >= store_due:
                    self._store(consumer, list(self._terms.values()), wait=False)
                    store_due = time.monotonic() + self._settings.commit_seconds
                if time.monotonic() >= look_due:
                    self._look_for_standstill(consumer)
                    look_due = time.monotonic() + INTERVAL_SECONDS
            if not self._killed:
                self._store(consumer, list(self._terms.values()), wait=True)
            self._end_terms(self._terms.keys())
        except KafkaException as error:
            self._die(_explain(error))
        except BaseException as error:
            # Whatever it is, the worker must not go on as if there were no messages.
            self._die(f"{type(error).__name__}: {error}")
            raise
        finally:
            try:
                consumer.close()
            finally:
                self._call_loop(self._say_ended)

    def _warn_of_one_partition(self, consumer: Consumer) -> None:
        topic = self._settings.jobs_topic
        try:
            found = consumer.list_topics(topic, timeout=LOOK_SECONDS).topics.get(topic)
        except KafkaException as error:
            logger.debug("the partitions of topic %s are not known: %s", topic, _explain(error))
            return
        if found is not None and len(found.partitions) == 1:
            logger.warning(ONE_PARTITION, topic, topic)

    def _receive(self, consumer: Consumer) -> None:
        first = consumer.poll(POLL_SECONDS)
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        if first is None:
            return
        messages = [first, *consumer.consume(BATCH_MESSAGES, 0)]
        arrived: list[KafkaDelivery] = []
        with self._lock:
            for message in messages:
                error = message.error()
                if error is not None:
                    self._judge(error)
                    continue
                partition, offset = message.partition() or 0, message.offset() or 0
                term = self._terms.get(partition)
                if term is None or not term.is_open:
                    continue
                if offset <= term.offsets.last:
                    # The topic was made anew, or the log was cut back: offsets begin again.
                    term.is_open, term.is_over = False, True
                    term = self._terms[partition] = Term(partition)
                term.offsets.deliver((offset,))
                arrived.append(KafkaDelivery(decode_message(message), partition, offset, term=term))
            self._ready.extend(arrived)
        if arrived:
            self._call_loop(self._news.set)

    def _on_error(self, error: Any) -> None:
        """An error of the whole client; raised by the next round, since a callback cannot."""
        if complaints.is_fatal(error):
            self._fatal = error
        else:
            complaints.report_error(error, advise(error, self._settings))

    def _judge(self, error: Any) -> None:
        """Decide whether the consumer can live with an error."""
        if complaints.is_fatal(error):
            raise KafkaException(error)
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            complaints.logger.warning("the process stood still for too long; its partitions went to others")
        elif error.code() != KafkaError._PARTITION_EOF:
            complaints.report_error(error, advise(error, self._settings))

    def _apply_pause(self, consumer: Consumer) -> None:
        """Fetch no more while the buffer is full.

        A pause throws away what librdkafka has fetched ahead, and after it half a second goes by until the next
        message comes. So the short pauses of a busy worker only leave the buffer as it is, and fetching goes on when
        half of it is left to work on.
        """
        with self._lock:
            most = self._settings.buffer_messages
            limit = max(1, most // 2) if self._is_paused else most
            wanted = len(self._ready) >= limit
            partitions = list(self._terms)
        if wanted == self._is_paused:
            return
        self._is_paused = wanted
        if partitions:
            places = [TopicPartition(self._settings.jobs_topic, partition) for partition in partitions]
            (consumer.pause if wanted else consumer.resume)(places)

    def _look_for_standstill(self, consumer: Consumer) -> None:
        if self._is_paused:
            self._watch.forget()
            return
        with self._lock:
            held = {term: term.offsets.last for term in self._terms.values() if term.is_open}
        self._watch.look(consumer, held)

    def _store(self, consumer: Consumer, terms: list[Term], *, wait: bool) -> None:
        """Send the marks that have moved to the broker."""
        with self._lock:
            moved = [(term, term.offsets.mark) for term in terms if term.offsets.mark not in (None, term.stored)]
        if not moved:
            return
        places = [TopicPartition(self._settings.jobs_topic, term.partition, mark or 0) for term, mark in moved]
        try:
            if wait:
                consumer.commit(offsets=places, asynchronous=False)
            else:
                consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            # Stored with the next round, or delivered again: either is safe.
            complaints.logger.warning("offsets were not stored: %s", _explain(error))
            return
        for term, mark in moved:
            term.stored = mark

    def _after_commit(self, error: Any, places: list[TopicPartition]) -> None:
        """The answer to an asynchronous commit."""
        failed = [place.partition for place in places if error is not None or place.error is not None]
        if not failed:
            return
        complaints.logger.warning("offsets were not stored: %s", error or "refused for some partitions")
        for partition in failed:
            term = self._terms.get(partition)
            if term is not None:
                term.stored = None

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            for place in partitions:
                self._terms[place.partition] = Term(place.partition)
        consumer.incremental_assign(partitions)
        if partitions:
            # librdkafka remembers a pause beyond the time for which a partition is held: one that was paused then
            # and is held again would bring nothing for ever.
            places = [TopicPartition(place.topic, place.partition) for place in partitions]
            (consumer.pause if self._is_paused else consumer.resume)(places)
        logger.info("slot '%s' took partitions %s", self._slot, _list(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Let the runtime finish within one deadline, store what is settled, then give up."""
        if self._closing:
            return
        numbers = [place.partition for place in partitions]
        with self._lock:
            terms = [self._terms[number] for number in numbers if number in self._terms]
            for term in terms:
                term.is_open = False
        self._await_runtime(frozenset(numbers))
        self._store(consumer, terms, wait=True)
        self._end_terms(numbers)
        logger.info("slot '%s' gave up partitions %s", self._slot, _list(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Others hold the partitions already: nothing may be stored any more."""
        numbers = [place.partition for place in partitions]
        self._end_terms(numbers)
        logger.warning("slot '%s' lost partitions %s", self._slot, _list(partitions))
        # The runtime must forget the runs, but nobody waits for it.
        self._tell_runtime(frozenset(numbers), 0.0)

    def _await_runtime(self, partitions: frozenset[int]) -> None:
        seconds = self._settings.revoke_seconds
        finishing = self._tell_runtime(partitions, seconds)
        if finishing is None:
            return
        try:
            finishing.result(seconds + GRACE_SECONDS)
        except concurrent.futures.TimeoutError:
            finishing.cancel()
            logger.warning("partitions %s are given up with work in flight", sorted(partitions))
        except Exception:  # the runtime's, and the partitions must be given up all the same
            logger.exception("the revoke callback of slot '%s' failed", self._slot)

    def _tell_runtime(self, partitions: frozenset[int], seconds: float) -> concurrent.futures.Future[None] | None:
        loop, on_revoked = self._loop, self._on_revoked
        if loop is None or on_revoked is None or loop.is_closed() or not partitions:
            return None

        async def call() -> None:
            await on_revoked(partitions, seconds)

        return asyncio.run_coroutine_threadsafe(call(), loop)

    def _end_terms(self, partitions: Any) -> None:
        with self._lock:
            for partition in list(partitions):
                term = self._terms.pop(partition, None)
                if term is not None:
                    term.is_open = False
                    term.is_over = True

    def _die(self, reason: str) -> None:
        logger.error("the consumer of slot '%s' (worker %s) ended: %s", self._slot, self._worker_id, reason)
        with self._lock:
            self._failure = QueueUnavailable(reason, queue=self._settings.jobs_topic, fatal=True)
        self._end_terms(self._terms.keys())
        self._call_loop(self._news.set)

    def _say_ended(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        self._news.set()

    def _call_loop(self, callback: Any) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(callback)
        except RuntimeError:
            logger.debug("the loop was closed before the consumer")


def _explain(error: KafkaException) -> str:
    cause = error.args[0] if error.args else error
    if isinstance(cause, KafkaError):
        if "group.instance.id" in cause.str():
            return "another worker has taken this slot"
        return cause.str()
    return str(cause)


def _list(partitions: list[TopicPartition]) -> str:
    return ", ".join(str(place.partition) for place in sorted(partitions, key=lambda place: place.partition)) or "none"
