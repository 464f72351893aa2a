"""Leaving a server alone that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row; after too many it forbids calls for a while, longer each time.

    Args:
        failures: how many in a row.
        rest_seconds: how long the first rest is; each further one is twice as long.
        longest_seconds: the longest rest.
        clock: seconds that never go back.

    Example:
        >>> breaker = CircuitBreaker(1, 5.0, 60.0, clock=lambda: 0.0)
        >>> breaker.note_failure()
        >>> breaker.allows_call()
        False
    """

    def __init__(
        self,
        failures: int,
        rest_seconds: float,
        longest_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_rest = rest_seconds
        self._longest_rest = longest_seconds
        self._clock = clock
        self._in_a_row = 0
        self._rest = rest_seconds
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are forbidden now."""
        return self._in_a_row >= self._limit and self._clock() < self._until

    def allows_call(self) -> bool:
        """Whether a call may be tried. After a rest one call is let through; the others wait for what it learns."""
        if self._in_a_row < self._limit:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._until = now + self._rest
        return True

    def note_success(self) -> None:
        """The server answered."""
        self._in_a_row = 0
        self._rest = self._first_rest

    def note_failure(self) -> None:
        """The server did not answer."""
        self._in_a_row += 1
        if self._in_a_row >= self._limit:
            self._until = self._clock() + self._rest
            self._rest = min(self._rest * 2, self._longest_rest)
