"""Pieces of time: listings and timers are cut into them so that no partition grows without bound.

A table of its own says which pieces exist, so that a reader goes from one to the next without trying every hour
of a year. A piece that is empty is closed: its rows are dropped as a whole and it is struck from the table. Closing
never loses a row that somebody adds at the same time, whatever their clocks say (within half a minute): a writer
enters the bucket again at least every ``ENTRY_SECONDS``, and closing only removes what is older than
``CLOSE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from functools import partial

from flowcraft_dagster.backends.cassandra.session import CassandraSession

LIVE = "live"
FINISHED = "finished"
TIMER = "timer"

WIDTHS = {LIVE: 600, FINISHED: 3600, TIMER: 60}
"""Seconds in one bucket, by kind. Part of the layout: never change them."""

SHARDS = 8
"""Partitions in one bucket of the run listings. Part of the layout: never change it."""

ENTRY_SECONDS = 30.0
CLOSE_SECONDS = 90.0
LAST_BUCKET = 2**62


def find_bucket(kind: str, moment: float) -> int:
    """The bucket that a moment falls into.

    Args:
        kind: ``LIVE``, ``FINISHED`` or ``TIMER``.
        moment: seconds since 1970 UTC.
    """
    return int(moment // WIDTHS[kind])


def find_end(kind: str, bucket: int) -> float:
    """The moment behind a bucket, seconds since 1970 UTC."""
    return float((bucket + 1) * WIDTHS[kind])


def find_shard(run_id: str) -> int:
    """The shard of a run: the same in every process and release."""
    return zlib.crc32(run_id.encode("utf-8", "surrogatepass")) % SHARDS


class BucketDirectory:
    """Which buckets exist.

    Args:
        session: the connection.
    """

    def __init__(self, session: CassandraSession) -> None:
        self._session = session
        self._entered: dict[tuple[str, int], float] = {}
        self._entering: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def enter(self, kind: str, bucket: int) -> None:
        """Say that rows go into a bucket; before the first of them and again now and then."""
        now = asyncio.get_running_loop().time()
        entered = self._entered.get((kind, bucket))
        if entered is not None and now - entered < ENTRY_SECONDS:
            return
        # Many runs come to a new bucket in the same moment: one of them writes, and all wait for it.
        entering = self._entering.get((kind, bucket))
        if entering is None or entering.done():
            entering = asyncio.create_task(self._write_entry(kind, bucket, now))
            self._entering[kind, bucket] = entering
            entering.add_done_callback(partial(self._note_end, (kind, bucket)))
        await asyncio.shield(entering)

    async def _write_entry(self, kind: str, bucket: int, began: float) -> None:
        await self._session.write("open_bucket", kind, bucket)
        if len(self._entered) > 1000:
            self._entered.clear()
        self._entered[kind, bucket] = began

    def _note_end(self, place: tuple[str, int], entering: asyncio.Task[None]) -> None:
        if self._entering.get(place) is entering:
            del self._entering[place]
        if not entering.cancelled():
            # Whoever still waits has it raised; when all have gone, nobody is to be told.
            entering.exception()

    async def read(self, kind: str, last: int = LAST_BUCKET) -> list[int]:
        """The buckets of a kind up to ``last``, oldest first."""
        return [row[0] for row in await self._session.read("read_buckets", kind, last)]

    async def close(self, kind: str, bucket: int) -> None:
        """Strike out a bucket in which everything is done, and drop its rows."""
        stamp = int((time.time() - CLOSE_SECONDS) * 1_000_000)
        self._entered.pop((kind, bucket), None)
        if kind == LIVE:
            for shard in range(SHARDS):
                await self._session.write("drop_live", stamp, bucket, shard)
        elif kind == TIMER:
            await self._session.write("drop_timers", stamp, bucket)
        await self._session.write("close_bucket", stamp, kind, bucket)
