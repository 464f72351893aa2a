"""Time, so that tests control it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time in engine and runtime."""

    def now(self) -> float:
        """Wall clock, seconds since 1970 UTC. For people and timers, never for safety."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...
