"""Runs that wait for a sub-flow, kept in memory for the moment when it ends.

A run with a sub-flow is let go of while its child runs, and is taken up again a moment later by the same worker: what
it was then is what it is now. Reading it again would cost more than the commit that follows. Nothing depends on this
memory: a run that is not here is read, and one that another owner has taken meanwhile has its commit refused.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.commit import OwnedRun

PARKED_RUNS: Final = 1024

PARKED_BYTES: Final = 64 * 1024 * 1024
"""What all of them may take in memory."""

LARGE_BYTES: Final = 1024 * 1024
"""A run that takes more is read again: it costs little beside what it does."""

PARKED_SECONDS: Final = 60.0
"""Far below the days for which ended runs are kept: no other run of the same id can have come in between."""


@dataclass(frozen=True, slots=True)
class _Place:
    run: OwnedRun
    until: float


class ParkedRuns:
    """The runs, the longest parked of which make room for others.

    Args:
        clock: for their age.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def park(self, run: OwnedRun) -> None:
        """Keep a run whose lane has nothing to do, if it waits for a sub-flow and for nothing else that runs."""
        state = run.state
        waits = not state.pending and any(opened.kind == "subflow" for opened in state.opened.values())
        if not waits or run.is_final or state.is_cancelling or run.memory_bytes > LARGE_BYTES:
            return
        now = self._clock.monotonic()
        self._pop(run.run_id)
        self._places[run.run_id] = _Place(run, now + PARKED_SECONDS)
        self._bytes += run.memory_bytes
        while len(self._places) > PARKED_RUNS or self._bytes > PARKED_BYTES or self._oldest.until < now:
            self._pop(self._oldest.run.run_id)

    def take(self, run_id: str) -> OwnedRun | None:
        """The run, which is not kept any longer; None if it is to be read."""
        place = self._pop(run_id)
        if place is None or place.until < self._clock.monotonic():
            return None
        return place.run

    def clear(self) -> None:
        """Forget all: others may own them soon."""
        self._places.clear()
        self._bytes = 0

    @property
    def _oldest(self) -> _Place:
        return next(iter(self._places.values()))

    def _pop(self, run_id: str) -> _Place | None:
        place = self._places.pop(run_id, None)
        if place is not None:
            self._bytes -= place.run.memory_bytes
        return place
