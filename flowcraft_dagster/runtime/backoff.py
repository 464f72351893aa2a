"""Trying again after infrastructure errors: for ever, ever more slowly, with jitter."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.availability import Availability, Server

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Patience:
    """Repeats calls until the servers answer. Infrastructure trouble pauses work; it never fails a run.

    Args:
        clock: for the pauses.
        dice: for the jitter.
        base_seconds: first pause.
        max_seconds: longest pause.
        availability: is told which servers answer and which do not.
        on_news: tells others of an outage, before the caller goes on; false when that was not possible.
    """

    def __init__(
        self,
        clock: Clock,
        dice: random.Random,
        base_seconds: float,
        max_seconds: float,
        availability: Availability | None = None,
        on_news: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._base = base_seconds
        self._max = max_seconds
        self._availability = availability or Availability(clock, float("inf"))
        self._on_news = on_news
        self._told = 0
        self._telling = asyncio.Lock()
        self.trouble: str | None = None

    async def insist(self, what: str, call: Callable[[], Awaitable[T]], server: Server = "store") -> T:
        """Await ``call()`` until it raises no InfrastructureError.

        Args:
            what: names the call in the log.
            call: makes a new attempt each time.
            server: who is to answer.
        """
        failures = 0
        if self._availability.has_stood_still:
            self._availability.note_beat()
            await self.tell()
        while True:
            asked_at = self._clock.now()
            try:
                result = await call()
            except InfrastructureError as error:
                failures += 1
                self.trouble = f"{what}: {error}"
                self._availability.note_failure(server)
                # One line at the first failure and then ever more rarely, not one per run and attempt.
                if failures & (failures - 1) == 0:
                    logger.warning("%s failed %d time(s), trying again: %s", what, failures, error)
                pause = min(self._max, self._base * 2 ** min(failures - 1, 16))
                await self._clock.sleep(pause * (0.5 + self._dice.random()))
            else:
                self._availability.note_answer(server, asked_at)
                if failures:
                    self.trouble = None
                    logger.info("%s succeeded after %d failure(s)", what, failures)
                await self.tell()
                return result

    async def tell(self) -> None:
        """Tell others what they ought to know; whoever comes meanwhile waits, too."""
        if self._on_news is None or self._told == self._availability.changes:
            return
        async with self._telling:
            changes = self._availability.changes
            if self._told != changes and await self._on_news():
                self._told = changes
