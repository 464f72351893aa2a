"""How many suspects run side by side, each in a process of its own, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowcraft_dagster.ports.clock import Clock

LONG_SECONDS = 10.0
"""What has run for so long without harm makes room for the next one."""


class IsolationPlaces:
    """Places for processes.

    A process costs memory and, as it starts, processor time; so only ``limit`` begin side by side. A node that takes
    its process down mostly does so soon: one that lives on is likely healthy and long, and must not hold up others. So
    it counts no more after a while, until there are ``most`` of them. Runs take turns: the one with the fewest places
    is next.

    Args:
        limit: how many begin side by side.
        most: how many there are in all, the long ones included.
        clock: time.
    """

    def __init__(self, limit: int, most: int, clock: Clock) -> None:
        self._limit = limit
        self._most = max(limit, most)
        self._clock = clock
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._held: Counter[str] = Counter()
        self._young = 0

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether a place that becomes free is taken at once."""
        return bool(self._waiting)

    @asynccontextmanager
    async def take(self, run_id: str) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (run_id, turn)
        self._waiting.append(entry)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(entry)
            else:
                self._leave(run_id, is_young=True)
            raise
        aging = asyncio.ensure_future(self._age())
        try:
            yield
        finally:
            is_young = aging.cancel()
            self._leave(run_id, is_young=is_young)

    async def _age(self) -> None:
        await self._clock.sleep(LONG_SECONDS)
        self._young -= 1
        self._admit()

    def _leave(self, run_id: str, *, is_young: bool) -> None:
        self._young -= is_young
        self._held[run_id] -= 1
        if not self._held[run_id]:
            del self._held[run_id]
        self._admit()

    def _admit(self) -> None:
        while self._young < self._limit and self._held.total() < self._most:
            # Who was cancelled takes its leave itself, a moment later.
            entries = [entry for entry in self._waiting if not entry[1].done()]
            if not entries:
                return
            entry = min(entries, key=lambda waiting: self._held[waiting[0]])
            self._waiting.remove(entry)
            run_id, turn = entry
            self._held[run_id] += 1
            self._young += 1
            turn.set_result(None)
