"""Due timers, read often by every worker and therefore cheaply.

Timers lie in buckets of a minute. A reader remembers up to which moment everything in a bucket is done and begins
there; now and then it begins at the front again, for timers that were late when they were added. A bucket that is
done is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from flowcraft_dagster.backends.cassandra.buckets import TIMER, BucketDirectory, find_bucket, find_end
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.ports.records import Timer

SETTLED_SECONDS = 2.0
"""Timers that became due less than this ago may still be on their way into the table."""

REREAD_SECONDS = 5.0
CLOSE_AFTER_SECONDS = 120.0
DONE_TTL = 86_400
"""A mark outlives the closing of its bucket by no more than this."""


class TimerTable:
    """Timers of all runs.

    Args:
        session: the connection.
        directory: which buckets exist.
        now: wall clock, seconds since 1970 UTC.
    """

    def __init__(
        self, session: CassandraSession, directory: BucketDirectory, now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._session = session
        self._directory = directory
        self._done_up_to: dict[int, float] = {}
        self._reread_at = 0.0

    async def add(self, timers: Sequence[Timer]) -> None:
        """Store timers; the same timer twice is one."""
        await asyncio.gather(*(self._add(timer) for timer in timers))

    async def read_due(self, now: float, limit: int) -> tuple[Timer, ...]:
        """Timers due at ``now``, earliest first."""
        loop_time = asyncio.get_running_loop().time()
        if loop_time >= self._reread_at:
            self._done_up_to.clear()
            self._reread_at = loop_time + REREAD_SECONDS
        buckets = await self._directory.read(TIMER, find_bucket(TIMER, now))
        found: list[Timer] = []
        for bucket in buckets:
            found += await self._read_bucket(bucket, now)
            if len(found) >= limit:
                break
        return tuple(found[:limit])

    async def drop(self, timers: Sequence[Timer]) -> None:
        """Mark timers as done."""
        await asyncio.gather(
            *(
                self._session.write(
                    "end_timer", DONE_TTL, find_bucket(TIMER, timer.due_at), timer.due_at, timer.run_id, timer.key
                )
                for timer in timers
            )
        )

    async def _add(self, timer: Timer) -> None:
        bucket = find_bucket(TIMER, timer.due_at)
        await self._directory.enter(TIMER, bucket)
        await self._session.write("add_timer", bucket, timer.due_at, timer.run_id, timer.key)

    async def _read_bucket(self, bucket: int, now: float) -> list[Timer]:
        first = self._done_up_to.get(bucket, float("-inf"))
        rows = await self._session.read("read_timers", bucket, first, now)
        open_timers = [Timer(due_at, run_id, key) for due_at, run_id, key, done in rows if not done]
        if open_timers:
            mark = open_timers[0].due_at
        else:
            mark = now
            if first == float("-inf") and find_end(TIMER, bucket) < self._now() - CLOSE_AFTER_SECONDS:
                await self._close(bucket)
        self._done_up_to[bucket] = min(mark, now - SETTLED_SECONDS, self._now() - SETTLED_SECONDS)
        return open_timers

    async def _close(self, bucket: int) -> None:
        # Timers behind the caller's clock count too: nothing may be open in the whole bucket.
        rows = await self._session.read("read_timers", bucket, float("-inf"), float("inf"))
        if all(row[3] for row in rows):
            self._done_up_to.pop(bucket, None)
            await self._directory.close(TIMER, bucket)
