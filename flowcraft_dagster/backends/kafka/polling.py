"""The thread that owns librdkafka's consumer: it polls, stores offsets and answers rebalances.

It runs nothing else, so that a node may take hours without the group noticing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flowcraft_dagster.backends.kafka import complaints
from flowcraft_dagster.backends.kafka.held import HeldPartitions
from flowcraft_dagster.backends.kafka.messages import decode_message
from flowcraft_dagster.backends.kafka.offsets import Term
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.standstill import INTERVAL_SECONDS, StandstillWatch
from flowcraft_dagster.backends.kafka.troubles import advise, make_client
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.queue import Revoked
from flowcraft_dagster.ports.records import Message

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
ONE_PARTITION = (
    "topic %s has one partition, so only one worker at a time gets work. For more: "
    "kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic %s --partitions 12"
)
BATCH_MESSAGES = 500
GRACE_SECONDS = 1.0
"""What a revoke callback may take beyond its deadline to clear up; then it is cancelled."""


class PollingThread:
    """Polls for one member of the worker group.

    Args:
        settings: where and how.
        slot: stable name of the place that the worker fills.
        worker_id: incarnation id, for logs.
        held: takes what arrives.
        on_revoked: awaited in the loop before partitions are given up.
        on_news: called in the loop when something has arrived, or the thread ends.

    Attributes:
        failure: why it has ended, once it has by itself.
        ended: done when the thread is over.
        is_paused: whether nothing is fetched, since enough waits.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        slot: str,
        worker_id: str,
        held: HeldPartitions,
        on_revoked: Revoked,
        on_news: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._worker_id = worker_id
        self._held = held
        self._on_revoked = on_revoked
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._watch = StandstillWatch(settings.jobs_topic)
        self._closing = False
        self._killed = False
        self._fatal: Any = None
        self.failure: QueueUnavailable | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.is_paused = False

    def start(self) -> None:
        """Make the client and begin. Raises SettingsError: librdkafka refuses the options."""
        config = {
            **self._settings.as_consumer(self._slot),
            "error_cb": self._on_error,
            "on_commit": self._after_commit,
        }
        consumer = make_client(lambda: Consumer(config, logger=complaints.client_logger), self._settings)
        name = f"flowcraft-consumer-{self._slot}"
        threading.Thread(target=self._live, args=(consumer,), name=name, daemon=True).start()

    def stop(self, *, killed: bool = False) -> None:
        """Leave the group, soon; as a killed process does, without storing anything, with ``killed``."""
        self._killed = self._killed or killed
        self._closing = True

    # From here on everything runs on the thread.

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
                    self._store(consumer, wait=False)
                    store_due = time.monotonic() + self._settings.commit_seconds
                if time.monotonic() >= look_due:
                    self._look_for_standstill(consumer)
                    look_due = time.monotonic() + INTERVAL_SECONDS
            if not self._killed:
                self._store(consumer, wait=True)
            self._held.end()
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
        arrived: list[tuple[int, int, Message]] = []
        for message in (first, *consumer.consume(BATCH_MESSAGES, 0)):
            error = message.error()
            if error is None:
                arrived.append((message.partition() or 0, message.offset() or 0, decode_message(message)))
            else:
                self._judge(error)
        if self._held.put(arrived):
            self._call_loop(self._on_news)

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
        most = self._settings.buffer_messages
        limit = max(1, most // 2) if self.is_paused else most
        wanted = self._held.waiting >= limit
        if wanted == self.is_paused:
            return
        self.is_paused = wanted
        places = [TopicPartition(self._settings.jobs_topic, partition) for partition in self._held.partitions]
        if places:
            (consumer.pause if wanted else consumer.resume)(places)

    def _look_for_standstill(self, consumer: Consumer) -> None:
        if self.is_paused:
            self._watch.forget()
        else:
            self._watch.look(consumer, self._held.find_last())

    def _store(self, consumer: Consumer, terms: Iterable[Term] | None = None, *, wait: bool) -> None:
        """Send the marks that have moved to the broker."""
        moved = self._held.find_moved(terms)
        if not moved:
            return
        places = [TopicPartition(self._settings.jobs_topic, term.partition, mark) for term, mark in moved]
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
            self._held.forget_stored(partition)

    # -- rebalances ----------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._held.begin(place.partition for place in partitions)
        consumer.incremental_assign(partitions)
        if partitions:
            # librdkafka remembers a pause beyond the time for which a partition is held: one that was paused then
            # and is held again would bring nothing for ever.
            places = [TopicPartition(place.topic, place.partition) for place in partitions]
            (consumer.pause if self.is_paused else consumer.resume)(places)
        logger.info("slot '%s' took partitions %s", self._slot, _list(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Let the runtime finish within one deadline, store what is settled, then give up."""
        if self._closing:
            return
        numbers = [place.partition for place in partitions]
        terms = self._held.close(numbers)
        self._await_runtime(frozenset(numbers))
        self._store(consumer, terms, wait=True)
        self._held.end(numbers)
        logger.info("slot '%s' gave up partitions %s", self._slot, _list(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Others hold the partitions already: nothing may be stored any more."""
        numbers = [place.partition for place in partitions]
        self._held.end(numbers)
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
        if self._loop.is_closed() or not partitions:
            return None

        async def call() -> None:
            await self._on_revoked(partitions, seconds)

        return asyncio.run_coroutine_threadsafe(call(), self._loop)

    # -- the end -------------------------------------------------------------------------------------------------

    def _die(self, reason: str) -> None:
        logger.error("the consumer of slot '%s' (worker %s) ended: %s", self._slot, self._worker_id, reason)
        self.failure = QueueUnavailable(reason, queue=self._settings.jobs_topic, fatal=True)
        self._held.end()
        self._call_loop(self._on_news)

    def _say_ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._on_news()

    def _call_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
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
