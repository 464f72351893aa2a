"""Finding runs in Cassandra: listings by time, due timers, and deaths."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from flowcraft_dagster.backends.cassandra.buckets import (
    FINISHED,
    LIVE,
    SHARDS,
    BucketDirectory,
    find_bucket,
    find_end,
    find_shard,
)
from flowcraft_dagster.backends.cassandra.driver import uuid_from_time
from flowcraft_dagster.backends.cassandra.headers import decode_header
from flowcraft_dagster.backends.cassandra.listings import LATE_SECONDS, RunListings
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.timers import TimerTable
from flowcraft_dagster.errors import UnknownCursor
from flowcraft_dagster.ports.records import FINAL_STATUSES, LIVE_STATUSES, Page, RunHeader, RunQuery, Timer
from flowcraft_dagster.ports.state import StateStore

CHUNK = 500
CARRY_AFTER_SECONDS = 900.0
"""Runs in buckets that ended longer ago are carried into the present one, and the bucket is closed."""

ORPHAN_SECONDS = 3600.0
"""An entry without a run is kept this long: its ``start`` may be between its two writes."""

FINISHED_CLOSE_SECONDS = 7200.0
CLOCK_SECONDS = 5.0
"""By how much the clocks of workers and readers may differ."""
MAX_LISTED_LIVE = 2000
MAX_EXAMINED = 100_000
"""``list_runs`` looks at no more ended runs than this, newest first."""


@dataclass(frozen=True, slots=True)
class LivePlace:
    """Where a scan of the live runs stands.

    Attributes:
        scan_id: marks what this scan carried forward, so that it does not meet it again.
        bucket, shard: the partition.
        after: the last run that was seen in it.
    """

    scan_id: str
    bucket: int
    shard: int = 0
    after: str = ""

    def as_cursor(self) -> str:
        """As text."""
        return orjson.dumps([self.scan_id, self.bucket, self.shard, self.after]).decode()

    @classmethod
    def from_cursor(cls, cursor: str | None) -> LivePlace:
        """From text; the beginning of a new scan from None."""
        if cursor is None:
            return cls(uuid.uuid4().hex, -(2**62))
        return cls(*orjson.loads(cursor))


class CassandraRunIndex:
    """A ``RunIndex`` on Cassandra.

    Live runs are listed by their start and read from their own partitions; ended runs carry their header in the
    listing. Scanning repairs what a crash left undone: an end that was not published, an entry without a run.

    Args:
        session: the connection.
        directory: which buckets exist.
        listings: the projections.
        state: where the runs are.
        now: wall clock, seconds since 1970 UTC.
    """

    def __init__(
        self,
        session: CassandraSession,
        directory: BucketDirectory,
        listings: RunListings,
        state: StateStore,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._session = session
        self._directory = directory
        self._listings = listings
        self._state = state
        # The moment of an entry is chosen before it is written, by a clock of another machine.
        self.late_seconds = LATE_SECONDS + session.settings.give_up_seconds + CLOCK_SECONDS
        self._timers = TimerTable(session, directory, now)

    async def list_runs(self, query: RunQuery) -> tuple[RunHeader, ...]:
        """See ``RunIndex.list_runs``.

        Of very many live runs the 2,000 that started last are looked at, and of ended ones the last 100,000.
        Raises StoreUnavailable.
        """
        found: dict[str, RunHeader] = {}
        wanted = query.statuses or FINAL_STATUSES | LIVE_STATUSES
        if wanted & LIVE_STATUSES:
            for header in await self._list_live(query):
                found[header.run_id] = header
        if wanted & FINAL_STATUSES:
            for header in await self._list_finished(query):
                found[header.run_id] = header
        matching = [header for header in found.values() if _matches(header, query)]
        matching.sort(key=lambda header: header.updated_at, reverse=True)
        return tuple(matching[: query.limit])

    async def scan_live_runs(self, cursor: str | None, limit: int) -> Page:
        """See ``RunIndex.scan_live_runs``. Raises StoreUnavailable."""
        place = LivePlace.from_cursor(cursor)
        found: list[RunHeader] = []
        for bucket in await self._directory.read(LIVE):
            if bucket < place.bucket:
                continue
            if bucket > place.bucket:
                place = LivePlace(place.scan_id, bucket)
            while place.shard < SHARDS:
                place, headers = await self._scan_chunk(place, limit - len(found))
                found += headers
                if len(found) >= limit:
                    return Page(tuple(found), place.as_cursor())
            if self._is_old(bucket):
                await self._directory.close(LIVE, bucket)
        return Page(tuple(found), None)

    async def scan_finished_runs(self, cursor: str | None, until: float, limit: int) -> Page:
        """See ``RunIndex.scan_finished_runs``. Raises StoreUnavailable."""
        moment, run_id = _read_place(cursor)
        found: list[tuple[float, str, str]] = []
        for bucket in await self._directory.read(FINISHED, find_bucket(FINISHED, until)):
            if moment is not None and bucket < find_bucket(FINISHED, moment):
                continue
            after = (float("-inf") if moment is None else moment, run_id)
            shards = await asyncio.gather(
                *(
                    self._session.read("read_finished", bucket, shard, *after, until, limit - len(found))
                    for shard in range(SHARDS)
                )
            )
            rows = sorted((row[0], row[1], row[2]) for shard_rows in shards for row in shard_rows)
            found += rows[: limit - len(found)]
            if len(found) >= limit:
                break
            is_past = find_end(FINISHED, bucket) < min(until, self._now() - FINISHED_CLOSE_SECONDS)
            if not rows and is_past and moment is None:
                await self._directory.close(FINISHED, bucket)
        if found:
            moment, run_id = found[-1][:2]
        next_cursor = orjson.dumps([moment, run_id]).decode() if moment is not None else ""
        return Page(tuple(decode_header(row[2]) for row in found), next_cursor)

    async def publish(self, header: RunHeader) -> None:
        """See ``RunIndex.publish``. Raises StoreUnavailable."""
        await self._listings.publish(header)

    async def read_published(self, run_id: str) -> RunHeader | None:
        """See ``RunIndex.read_published``. Raises StoreUnavailable."""
        return await self._listings.read_published(run_id)

    async def add_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.add_timers``. Raises StoreUnavailable."""
        await self._timers.add(timers)

    async def read_due_timers(self, now: float, limit: int) -> tuple[Timer, ...]:
        """See ``RunIndex.read_due_timers``. Raises StoreUnavailable."""
        return await self._timers.read_due(now, limit)

    async def drop_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.drop_timers``. Raises StoreUnavailable."""
        await self._timers.drop(timers)

    async def count_death(self, run_id: str, activation: str) -> int:
        """See ``RunIndex.count_death``. Raises StoreUnavailable."""
        # The id is chosen here, so that a repeated write counts once.
        death = uuid_from_time(self._now())
        await self._session.write("add_death", run_id, activation, death, self._session.settings.worker_ttl_seconds)
        rows = await self._session.read("count_deaths", run_id, activation)
        return int(rows[0][0])

    async def _scan_chunk(self, place: LivePlace, limit: int) -> tuple[LivePlace, list[RunHeader]]:
        """Live runs of the next rows, and where to go on."""
        rows = await self._session.read("read_live", place.bucket, place.shard, place.after, CHUNK)
        fresh = [row for row in rows if not row[4] and row[5] != place.scan_id][:limit]
        headers = await asyncio.gather(*(self._state.read_header(row[0]) for row in fresh))
        found: list[RunHeader] = []
        for row, header in zip(fresh, headers, strict=True):
            if header is not None and not header.is_final:
                found.append(header)
            await self._tend(place, row, header)
        if len(fresh) == limit:
            return LivePlace(place.scan_id, place.bucket, place.shard, fresh[-1][0]), found
        if len(rows) == CHUNK:
            return LivePlace(place.scan_id, place.bucket, place.shard, rows[-1][0]), found
        return LivePlace(place.scan_id, place.bucket, place.shard + 1), found

    async def _tend(self, place: LivePlace, row: tuple[Any, ...], header: RunHeader | None) -> None:
        """Carry an entry forward, or take it off the listing when its run has ended or never began."""
        run_id, written_at = row[0], row[6] / 1_000_000
        if header is not None and header.is_final:
            await self._listings.publish(header)
        elif header is not None or self._now() - written_at < ORPHAN_SECONDS:
            if self._is_old(place.bucket):
                bucket = find_bucket(LIVE, self._now())
                await self._directory.enter(LIVE, bucket)
                entry = (run_id, row[1], row[2], row[3], False, place.scan_id)
                await self._session.write("list_live", bucket, find_shard(run_id), *entry)
            return
        await self._session.write("unlist_live", place.bucket, place.shard, run_id)

    def _is_old(self, bucket: int) -> bool:
        return find_end(LIVE, bucket) < self._now() - CARRY_AFTER_SECONDS

    async def _list_live(self, query: RunQuery) -> list[RunHeader]:
        entries: dict[str, float] = {}
        for bucket in await self._directory.read(LIVE):
            shards = await asyncio.gather(*(self._read_entries(bucket, shard) for shard in range(SHARDS)))
            for run_id, blueprint_id, child, started_at, done, *_ in (row for rows in shards for row in rows):
                is_other = query.blueprint_id is not None and blueprint_id != query.blueprint_id
                if not done and not is_other and (query.with_children or not child):
                    entries[run_id] = started_at
        newest = sorted(entries, key=lambda run_id: entries[run_id], reverse=True)[:MAX_LISTED_LIVE]
        headers = await asyncio.gather(*(self._state.read_header(run_id) for run_id in newest))
        return [header for header in headers if header is not None]

    async def _read_entries(self, bucket: int, shard: int) -> list[tuple[Any, ...]]:
        return await self._session.read("read_live", bucket, shard, "", 2**31 - 1)

    async def _list_finished(self, query: RunQuery) -> list[RunHeader]:
        found: list[RunHeader] = []
        examined = 0
        for bucket in reversed(await self._directory.read(FINISHED)):
            if find_end(FINISHED, bucket) <= query.since or len(found) >= query.limit or examined >= MAX_EXAMINED:
                break
            for shard in range(SHARDS):
                matching = 0
                async for header in self._go_back(bucket, shard):
                    examined += 1
                    if _matches(header, query):
                        found.append(header)
                        matching += 1
                    if matching >= query.limit or examined >= MAX_EXAMINED:
                        break
        return found

    async def _go_back(self, bucket: int, shard: int) -> AsyncIterator[RunHeader]:
        """Ended runs of one partition, newest first."""
        before: tuple[float, str] = (float("inf"), "")
        while True:
            rows = await self._session.read("read_newest", bucket, shard, *before, CHUNK)
            for row in rows:
                yield decode_header(row[2])
            if len(rows) < CHUNK:
                return
            before = (rows[-1][0], rows[-1][1])


def _read_place(cursor: str | None) -> tuple[float | None, str]:
    """Moment and id of the last run that was seen. Raises UnknownCursor."""
    if not cursor:
        return None, ""
    try:
        moment, run_id = orjson.loads(cursor)
        return float(moment), str(run_id)
    except (ValueError, TypeError):
        raise UnknownCursor(cursor=cursor) from None


def _matches(header: RunHeader, query: RunQuery) -> bool:
    return (
        header.updated_at >= query.since
        and (not query.statuses or header.status in query.statuses)
        and (query.blueprint_id is None or header.blueprint_id == query.blueprint_id)
        and (query.with_children or header.parent is None)
    )
