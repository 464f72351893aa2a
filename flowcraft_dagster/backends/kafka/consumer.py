"""One member of the worker group, as the runtime sees it from its asyncio loop.

A thread of its own polls, see ``polling``. What it received crosses to the loop in batches, see ``held``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from flowcraft_dagster.backends.kafka.held import HeldPartitions
from flowcraft_dagster.backends.kafka.polling import PollingThread
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.ports.queue import Revoked
from flowcraft_dagster.ports.records import Delivery
from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

FETCH_SECONDS = 1.0
CLOSE_SECONDS = 15.0


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
        self._held = HeldPartitions()
        self._polling: PollingThread | None = None
        self._news = asyncio.Event()
        self._is_paused = False
        self._closing = False

    async def start(self, on_revoked: Revoked) -> None:
        """See ``JobConsumer.start``. Returns before partitions are assigned.

        Raises:
            SettingsError: librdkafka refuses the options.
        """
        polling = PollingThread(
            self._settings, self._slot, self._worker_id, self._held, on_revoked, self._news.set
        )
        polling.start()
        self._polling = polling

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
        self._held.settle(deliveries)

    def pause(self) -> None:
        """See ``JobConsumer.pause``; what was fetched already is kept back too."""
        self._is_paused = True

    def resume(self) -> None:
        """See ``JobConsumer.resume``."""
        self._is_paused = False
        self._news.set()

    async def close(self) -> None:
        """See ``JobConsumer.close``; the revoke callback is not called.

        A static member leaves its place reserved until the session ends, for the worker that comes back.
        """
        self._closing = True
        self._news.set()
        if self._polling is None:
            return
        self._polling.stop()
        done, _ = await asyncio.wait([self._polling.ended], timeout=CLOSE_SECONDS)
        if not done:
            logger.warning("the consumer of slot '%s' does not end; it is left behind", self._slot)

    def kill(self) -> None:
        """Die as a killed process does: nothing more is stored, and the group is not told."""
        self._closing = True
        if self._polling is not None:
            self._polling.stop(killed=True)
        self._held.end()
        self._news.set()

    def _collect(self, limit: int) -> list[Delivery]:
        if self._polling is not None and self._polling.failure is not None:
            raise self._polling.failure
        # Whoever sets it does so on the loop, so nothing can come in between.
        self._news.clear()
        if self._closing or self._is_paused:
            return []
        found = self._held.take(limit)
        if self._held.waiting:
            self._news.set()
        return found
