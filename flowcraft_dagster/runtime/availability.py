"""When the servers could not be reached, as this worker has seen it.

A time-out that runs on the wall clock must not count an outage. Every worker notes the outages it meets, and tells them
to others in its record, so that they are known to whoever judges a time-out later, see ``runtime.deadlines``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from flowcraft_dagster.ports.clock import Clock

Server = Literal["store", "queue", "processes"]
Interval = tuple[float, float]
MOST_OUTAGES = 50
SLOW_SECONDS = 2.0
"""A server that took longer to answer was away for as long: the call may have hung until it was back."""


class Availability:
    """Outages of the store, of the queue, and of the machine as far as it cannot start processes.

    An outage begins when its server answered last, not when a call first failed: what was in between is unknown.

    Args:
        clock: wall clock.
        longest_silence: seconds between two beats of a healthy worker at the most; a longer time is an outage, too,
            since the process itself stood still.

    Attributes:
        changes: grows with everything that others ought to know.
    """

    def __init__(self, clock: Clock, longest_silence: float) -> None:
        self._clock = clock
        self._longest_silence = longest_silence
        self._beat_at = clock.now()
        self._began_at = self._beat_at
        self._answered_at: dict[Server, float] = {}
        self._failing: dict[Server, float] = {}
        self._over: list[Interval] = []
        self.changes = 0

    def note_answer(self, server: Server, asked_at: float | None = None) -> None:
        """The server has answered.

        Args:
            server: which.
            asked_at: when it was asked; None for just now.
        """
        now = self._clock.now()
        since = self._failing.pop(server, None)
        if since is not None:
            self._add(since, now)
        elif asked_at is not None and now - asked_at > SLOW_SECONDS:
            self._add(asked_at, now)
        self._answered_at[server] = now

    def note_failure(self, server: Server) -> None:
        """The server has not answered."""
        if server not in self._failing:
            self._failing[server] = self._answered_at.get(server, self._began_at)
            self.changes += 1

    def note_given_up(self, server: Server) -> None:
        """Nobody asks the server any more: it was away up to now, as far as is known.

        Whoever asks in vain later finds it away since it answered last.
        """
        since = self._failing.pop(server, None)
        if since is not None:
            self._add(since, self._clock.now())

    @property
    def has_stood_still(self) -> bool:
        """Whether the process has just gone on after a pause in which it did not beat."""
        return self._clock.now() - self._beat_at > self._longest_silence

    def note_beat(self) -> None:
        """The process lives; called again and again."""
        now = self._clock.now()
        if self.has_stood_still:
            self._add(self._beat_at, now)
        self._beat_at = now

    def list_outages(self) -> list[Interval]:
        """Outages so far, those of now up to this moment; in order, without overlaps."""
        now = self._clock.now()
        silent = [(self._beat_at, now)] if self.has_stood_still else []
        return join_intervals([*self._over, *silent, *((since, now) for since in self._failing.values())])

    def _add(self, begin: float, end: float) -> None:
        self.changes += 1
        self._over = join_intervals([*self._over, (begin, end)])
        while len(self._over) > MOST_OUTAGES:
            # Rather count a short time of health as one of outage than the other way round.
            place = min(range(len(self._over) - 1), key=lambda at: self._over[at + 1][0] - self._over[at][1])
            self._over[place : place + 2] = [(self._over[place][0], self._over[place + 1][1])]


def join_intervals(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments as intervals that do not touch, in order.

    Example:
        >>> join_intervals([(5, 6), (1, 3), (2, 4), (8, 8)])
        [(1, 4), (5, 6)]
    """
    joined: list[Interval] = []
    for begin, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
