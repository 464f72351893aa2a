"""Trying again after infrastructure errors: for ever, ever more slowly, with jitter."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.clock import Clock

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Patience:
    """Repeats calls until the servers answer. Infrastructure trouble pauses work; it never fails a run.

    Args:
        clock: for the pauses.
        dice: for the jitter.
        base_seconds: first pause.
        max_seconds: longest pause.
    """

    def __init__(self, clock: Clock, dice: random.Random, base_seconds: float, max_seconds: float) -> None:
        self._clock = clock
        self._dice = dice
        self._base = base_seconds
        self._max = max_seconds
        self.trouble: str | None = None

    async def insist(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Await ``call()`` until it raises no InfrastructureError.

        Args:
            what: names the call in the log.
            call: makes a new attempt each time.
        """
        failures = 0
        while True:
            try:
                result = await call()
            except InfrastructureError as error:
                failures += 1
                self.trouble = f"{what}: {error}"
                # One line at the first failure and then ever more rarely, not one per run and attempt.
                if failures & (failures - 1) == 0:
                    logger.warning("%s failed %d time(s), trying again: %s", what, failures, error)
                pause = min(self._max, self._base * 2 ** min(failures - 1, 16))
                await self._clock.sleep(pause * (0.5 + self._dice.random()))
            else:
                if failures:
                    self.trouble = None
                    logger.info("%s succeeded after %d failure(s)", what, failures)
                return result
