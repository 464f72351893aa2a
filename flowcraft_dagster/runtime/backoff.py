"""Trying again after infrastructure errors: for ever, ever more slowly, with jitter."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.availability import Availability, Server

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class _Streak:
    """Failures of one kind of call, from the first one until every call that has failed is over.

    Attributes:
        server: who does not answer.
        failures: how many so far.
        calls: how many calls have failed and are not over.
        trouble: what the last one met.
    """

    server: Server
    failures: int = 0
    calls: int = 0
    trouble: str = ""


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
        self._streaks: dict[str, _Streak] = {}

    @property
    def trouble(self) -> str | None:
        """What keeps a call from going on now; of several kinds, the one that has had trouble last."""
        return next((streak.trouble for streak in reversed(self._streaks.values())), None)

    async def insist(self, what: str, call: Callable[[], Awaitable[T]], server: Server = "store") -> T:
        """Await ``call()`` until it raises no InfrastructureError.

        Args:
            what: names the call in the log.
            call: makes a new attempt each time.
            server: who is to answer.
        """
        if self._availability.has_stood_still:
            self._availability.note_beat()
            await self.tell()
        failures = 0
        try:
            while True:
                asked_at = self._clock.now()
                try:
                    result = await call()
                except InfrastructureError as error:
                    failures += 1
                    self._availability.note_failure(server)
                    self._note_failure(what, server, error, is_first=failures == 1)
                    pause = min(self._max, self._base * 2 ** min(failures - 1, 16))
                    await self._clock.sleep(pause * (0.5 + self._dice.random()))
                else:
                    self._availability.note_answer(server, asked_at)
                    break
        finally:
            if failures:
                self._note_end(what)
                # Only a call that was given up leaves it failing.
                if all(streak.server != server for streak in self._streaks.values()):
                    self._availability.note_given_up(server)
        await self.tell()
        return result

    def _note_failure(self, what: str, server: Server, error: InfrastructureError, *, is_first: bool) -> None:
        streak = self._streaks.pop(what, None) or _Streak(server)
        self._streaks[what] = streak
        streak.trouble = f"{what}: {error}"
        streak.calls += is_first
        streak.failures += 1
        # One line at the first failure and then ever more rarely, not one per run and attempt.
        if streak.failures & (streak.failures - 1) == 0:
            logger.warning("%s failed %d time(s), trying again: %s", what, streak.failures, error)

    def _note_end(self, what: str) -> None:
        """A call that had failed has succeeded, or is given up by whoever wanted it."""
        streak = self._streaks[what]
        streak.calls -= 1
        if streak.calls == 0:
            del self._streaks[what]
            logger.info("%s: no more trouble after %d failure(s)", what, streak.failures)

    async def tell(self) -> None:
        """Tell others what they ought to know; whoever comes meanwhile waits, too."""
        if self._on_news is None or self._told == self._availability.changes:
            return
        async with self._telling:
            changes = self._availability.changes
            if self._told != changes and await self._on_news():
                self._told = changes
