"""The projections of a run's head: its status row, and its place in the listings of live and of ended runs.

The head beside the facts is the truth. What stands here may lag behind it; the index repairs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timezone

from flowcraft_dagster.backends.cassandra.buckets import FINISHED, LIVE, BucketDirectory, find_bucket, find_shard
from flowcraft_dagster.backends.cassandra.grouping import WriteGroup
from flowcraft_dagster.backends.cassandra.headers import decode_header, encode_header
from flowcraft_dagster.backends.cassandra.session import CassandraSession, Part
from flowcraft_dagster.ports.records import RunHeader

LIVE_ROWS_TOGETHER = 10
STATUS_ROWS_TOGETHER = 4
ENDED_ROWS_TOGETHER = 4

LATE_SECONDS = 10.0
"""An end that is published later than this is listed under the present: readers may have gone past its moment."""


class RunListings:
    """Writes the projections.

    Args:
        session: the connection.
        directory: which buckets exist.
        now: wall clock, seconds since 1970 UTC.
    """

    def __init__(
        self, session: CassandraSession, directory: BucketDirectory, now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._live_rows = WriteGroup(session, LIVE_ROWS_TOGETHER)
        self._status_rows = WriteGroup(session, STATUS_ROWS_TOGETHER)
        self._ended_rows = WriteGroup(session, ENDED_ROWS_TOGETHER)
        self._session = session
        self._directory = directory

    async def list_live(self, header: RunHeader) -> None:
        """Put a run on the listing of live runs; always before the run itself is stored."""
        bucket = find_bucket(LIVE, header.started_at)
        await self._directory.enter(LIVE, bucket)
        child = header.parent is not None
        run_id = header.run_id
        values = (bucket, find_shard(run_id), run_id, header.blueprint_id, child, header.started_at, False, None)
        await self._live_rows.write([("list_live", values)])

    async def publish(self, header: RunHeader) -> None:
        """Bring the projections up to a header that is newer than they are."""
        if header.is_final:
            await self.publish_end(header, await self._choose_moment(header))
        else:
            await self._status_rows.write(_write_status(header, None, 0))

    async def publish_end(self, header: RunHeader, listed_at: float) -> None:
        """Status row and listing of ended runs, then the listing of live runs.

        A run leaves the live ones last: what a crash leaves undone in between is found there by the next scan, which
        publishes the end again. That costs half of what the server's log for batches would.

        Args:
            header: of a run that has ended.
            listed_at: its place among the ended runs, normally the moment it ended.
        """
        run_id, ttl = header.run_id, self._session.settings.finished_ttl_seconds or 0
        shard, bucket = find_shard(run_id), find_bucket(FINISHED, listed_at)
        await self._directory.enter(FINISHED, bucket)
        parts = _write_status(header, listed_at, ttl)
        parts.append(("list_finished", (bucket, shard, listed_at, run_id, encode_header(header), ttl)))
        await self._ended_rows.write(parts)
        await self._live_rows.write([("unlist_live", (find_bucket(LIVE, header.started_at), shard, run_id))])

    async def read_published(self, run_id: str) -> RunHeader | None:
        """The status row as a header; None where there is none."""
        rows = await self._session.read("read_status", run_id)
        if not rows or rows[0][0] is None:
            return None
        header = decode_header(rows[0][0])
        touched_at = rows[0][1]
        if touched_at is None or header.is_final:
            return header
        # The column holds milliseconds: what the header says is more exact unless a heartbeat came later.
        heartbeat = touched_at.replace(tzinfo=timezone.utc).timestamp()
        return replace(header, updated_at=heartbeat) if heartbeat > header.updated_at else header

    async def touch(self, run_id: str, now: float) -> None:
        """A heartbeat: one mutation, since both rows have the same partition key."""
        await self._session.write_together(
            [("touch_status", (0, _milliseconds(now), run_id)), ("touch_head", (now, run_id))]
        )

    async def forget(self, run_id: str) -> None:
        """Remove the status row and the place among the ended runs."""
        rows = await self._session.read("read_status", run_id)
        if not rows:
            return
        listed_at = rows[0][2]
        if listed_at is not None:
            bucket = find_bucket(FINISHED, listed_at)
            await self._session.write("unlist_finished", bucket, find_shard(run_id), listed_at, run_id)
        await self._session.write("drop_status", run_id)

    async def _choose_moment(self, header: RunHeader) -> float:
        """Under which moment an end is listed: when it happened, or now if readers may have gone past that."""
        run_id, now = header.run_id, self._now()
        if header.finished_at is not None and now - header.finished_at <= LATE_SECONDS:
            # In time, so whoever published it before was in time too.
            return header.finished_at
        rows = await self._session.read("read_status", run_id)
        listed_at: float | None = rows[0][2] if rows else None
        if listed_at is not None:
            place = (find_bucket(FINISHED, listed_at), find_shard(run_id), listed_at, run_id)
            if await self._session.read("find_finished", *place):
                return listed_at
        return now


def _write_status(header: RunHeader, listed_at: float | None, ttl: int) -> list[Part]:
    values = (
        header.run_id,
        header.status,
        header.blueprint_id,
        header.reason,
        _milliseconds(header.started_at),
        None if header.finished_at is None else _milliseconds(header.finished_at),
        encode_header(header),
        listed_at,
    )
    # The stamp grows with the number of the commit, so that of two writers the later commit wins, whatever their
    # clocks say. Heartbeats carry the time of day.
    stamp = int(header.started_at * 1_000_000) + header.seq
    return [
        ("write_status", (*values, stamp, ttl)),
        ("touch_status", (ttl, _milliseconds(header.updated_at), header.run_id)),
    ]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
