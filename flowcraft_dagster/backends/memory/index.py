"""Listings, timers and death counts over the in-memory runs."""

from __future__ import annotations

from collections.abc import Sequence

from flowcraft_dagster.backends.memory.state import MemoryStateStore
from flowcraft_dagster.errors import UnknownCursor
from flowcraft_dagster.ports.records import Page, RunHeader, RunQuery, Timer


class MemoryRunIndex:
    """A ``RunIndex`` that reads the runs themselves, so it never lags behind them."""

    def __init__(self, state: MemoryStateStore) -> None:
        self._state = state
        self._timers: set[tuple[float, str, str]] = set()
        self._deaths: dict[tuple[str, str], int] = {}
        self.late_seconds = 0.0

    async def list_runs(self, query: RunQuery) -> tuple[RunHeader, ...]:
        """See ``RunIndex.list_runs``."""
        found = [
            header
            for header in (record.header for record in self._state.runs.values())
            if header.updated_at >= query.since
            and (not query.statuses or header.status in query.statuses)
            and (query.blueprint_id is None or header.blueprint_id == query.blueprint_id)
            and (query.with_children or header.parent is None)
        ]
        found.reverse()  # of two updated at once, the one created later comes first
        found.sort(key=lambda header: header.updated_at, reverse=True)
        return tuple(found[: query.limit])

    async def scan_live_runs(self, cursor: str | None, limit: int) -> Page:
        """See ``RunIndex.scan_live_runs``."""
        after = int(cursor) if cursor else 0
        numbers = [number for number in self._state.live if number > after]
        page = numbers[:limit]
        headers = tuple(self._state.live[number].header for number in page)
        return Page(headers, str(page[-1]) if len(numbers) > limit else None)

    async def scan_finished_runs(self, cursor: str | None, until: float, limit: int) -> Page:
        """See ``RunIndex.scan_finished_runs``."""
        if cursor is not None and not cursor.isdecimal():
            raise UnknownCursor(cursor=cursor)
        after = int(cursor or 0)
        headers: list[RunHeader] = []
        for number, run_id in self._state.finished.items():
            if number <= after:
                continue
            header = self._state.runs[run_id].header
            # Stop at the first that is too young: going past it would lose it for this cursor.
            if len(headers) == limit or (header.finished_at or 0.0) >= until:
                break
            headers.append(header)
            after = number
        return Page(tuple(headers), str(after))

    async def publish(self, header: RunHeader) -> None:
        """Nothing to do: the projection is the run itself."""

    async def read_published(self, run_id: str) -> RunHeader | None:
        """See ``RunIndex.read_published``."""
        return await self._state.read_header(run_id)

    async def add_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.add_timers``."""
        self._timers.update((timer.due_at, timer.run_id, timer.key) for timer in timers)

    async def read_due_timers(self, now: float, limit: int) -> tuple[Timer, ...]:
        """See ``RunIndex.read_due_timers``."""
        due = sorted(timer for timer in self._timers if timer[0] <= now)
        return tuple(Timer(*timer) for timer in due[:limit])

    async def drop_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.drop_timers``."""
        self._timers.difference_update((timer.due_at, timer.run_id, timer.key) for timer in timers)

    async def count_death(self, run_id: str, activation: str) -> int:
        """See ``RunIndex.count_death``."""
        deaths = self._deaths.get((run_id, activation), 0) + 1
        self._deaths[run_id, activation] = deaths
        return deaths
