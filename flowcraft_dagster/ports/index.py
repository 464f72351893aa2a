"""Finding runs without knowing their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowcraft_dagster.ports.records import Page, RunHeader, RunQuery, Timer


class RunIndex(Protocol):
    """Listings of runs, due timers and suspicion of crashes. May lag behind the state store."""

    @property
    def late_seconds(self) -> float:
        """How far behind the present a reader of finished runs must stay to miss none; 0 where ends are numbered."""
        ...

    async def list_runs(self, query: RunQuery) -> tuple[RunHeader, ...]:
        """Runs that match, latest ``updated_at`` first."""
        ...

    async def scan_live_runs(self, cursor: str | None, limit: int) -> Page:
        """A page of runs that have not ended, children included, in a stable order."""
        ...

    async def scan_finished_runs(self, cursor: str | None, until: float, limit: int) -> Page:
        """A page of runs that ended before ``until``, children included, in the order they ended.

        The cursor of the last page is not None but a place to go on from, so that a reader sees each run once. Raises
        UnknownCursor for one that no page had.
        """
        ...

    async def publish(self, header: RunHeader) -> None:
        """Bring the status projection up to a run's present header; repeated without harm."""
        ...

    async def read_published(self, run_id: str) -> RunHeader | None:
        """One plain read of the projection; None where there is none."""
        ...

    async def add_timers(self, timers: Sequence[Timer]) -> None:
        """Store timers; the same timer twice is one."""
        ...

    async def read_due_timers(self, now: float, limit: int) -> tuple[Timer, ...]:
        """Timers due at ``now``, earliest first."""
        ...

    async def drop_timers(self, timers: Sequence[Timer]) -> None:
        """Remove timers that have done their work."""
        ...

    async def count_death(self, run_id: str, activation: str) -> int:
        """Note that ``activation`` killed the process it ran in alone; returns how often so far."""
        ...
