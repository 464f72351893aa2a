"""Listings of runs, timers and death counts: the runs' own tables, so nothing has to be kept in step."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.backends.embedded.connection import BulkInsert
from flowcraft_dagster.backends.embedded.headers import COLUMNS, build_header, read_header
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.errors import UnknownCursor
from flowcraft_dagster.ports.records import FINAL_STATUSES, LIVE_STATUSES, Page, RunHeader, RunQuery, Timer

_LIVE = f"""SELECT {COLUMNS} FROM heads AS h INDEXED BY heads_live CROSS JOIN runs AS r ON r.number = h.run
    WHERE h.finished_at IS NULL"""  # noqa: S608 - constant parts only
_FINISHED = f"""SELECT f.number, {COLUMNS} FROM finished AS f CROSS JOIN heads AS h ON h.run = f.run
    CROSS JOIN runs AS r ON r.number = f.run"""  # noqa: S608 - as above
CLOCK_SECONDS = 30.0
"""How far the clock must have gone back to be told from commits that overtake each other."""
_INSERT_TIMERS = BulkInsert("INSERT OR IGNORE INTO timers", 3)


class EmbeddedRunIndex:
    """A ``RunIndex`` over the runs' own tables: it never lags behind them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.late_seconds = 0.0

    async def list_runs(self, query: RunQuery) -> tuple[RunHeader, ...]:
        """See ``RunIndex.list_runs``."""
        return await self._session.reader.ask_apart(lambda connection: list_from(connection, query))

    async def scan_live_runs(self, cursor: str | None, limit: int) -> Page:
        """See ``RunIndex.scan_live_runs``."""
        sql = f"{_LIVE} AND h.run > ? ORDER BY h.run LIMIT ?"
        values = (int(cursor or 0), limit + 1)
        rows = await self._session.reader.ask_apart(lambda connection: connection.execute(sql, values).fetchall())
        page = rows[:limit]
        return Page(tuple(map(build_header, page)), str(page[-1][0]) if len(rows) > limit else None)

    async def scan_finished_runs(self, cursor: str | None, until: float, limit: int) -> Page:
        """See ``RunIndex.scan_finished_runs``."""
        after = self._read_place(cursor)
        sql = f"{_FINISHED} WHERE f.number > ? ORDER BY f.number LIMIT ?"
        rows, passed = await self._session.reader.ask_apart(
            lambda connection: (connection.execute(sql, (after, limit)).fetchall(), _find_passed(connection, until))
        )
        headers: list[RunHeader] = []
        for number, *values in rows:
            header = build_header(values)
            # Stop at the first that is too young: going past it would lose it for this cursor.
            if (header.finished_at or 0.0) >= until and number > passed:
                break
            headers.append(header)
            after = number
        return Page(tuple(headers), f"{self._name_file()}{after}")

    def _read_place(self, cursor: str | None) -> int:
        """Number of the last run that was seen. A place in another file would hide what ends in this one."""
        if cursor is None:
            return 0
        number = cursor.removeprefix(self._name_file())
        if number == cursor or not number.isdecimal():
            raise UnknownCursor(cursor=cursor)
        return int(number)

    def _name_file(self) -> str:
        return f"{self._session.topic_id[:8]}-"

    async def publish(self, header: RunHeader) -> None:
        """Nothing to do: the projection is the run itself."""

    async def read_published(self, run_id: str) -> RunHeader | None:
        """See ``RunIndex.read_published``."""
        found = self._session.reader.ask(lambda connection: read_header(connection, run_id))
        return None if found is None else found[1]

    async def add_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.add_timers``."""
        if timers:
            await self._session.write(ADD_TIMERS, tuple(timers))

    async def read_due_timers(self, now: float, limit: int) -> tuple[Timer, ...]:
        """See ``RunIndex.read_due_timers``."""
        rows = self._session.reader.read(
            "SELECT due_at, run_id, key FROM timers WHERE due_at <= ? ORDER BY due_at, run_id, key LIMIT ?",
            (now, limit),
        )
        return tuple(Timer(*row) for row in rows)

    async def drop_timers(self, timers: Sequence[Timer]) -> None:
        """See ``RunIndex.drop_timers``."""
        if timers:
            await self._session.write(DROP_TIMERS, tuple(timers))

    async def count_death(self, run_id: str, activation: str) -> int:
        """See ``RunIndex.count_death``."""
        return await self._session.write(COUNT_DEATH, (run_id, activation))


def _find_passed(connection: sqlite3.Connection, until: float) -> int:
    """Number of a run that ended well before ``until``: whatever ended before it did so too.

    Should an earlier one say otherwise, the clock was set back in between, and waiting for the time that it names
    would hide every run behind it as long.
    """
    found = connection.execute(
        "SELECT number FROM finished WHERE finished_at < ? ORDER BY finished_at DESC LIMIT 1", (until - CLOCK_SECONDS,)
    ).fetchall()
    return int(found[0][0]) if found else 0


def list_from(connection: sqlite3.Connection, query: RunQuery) -> tuple[RunHeader, ...]:
    """The newest of the live runs and the newest of the ended ones, merged."""
    wanted = query.statuses or (LIVE_STATUSES | FINAL_STATUSES)
    narrow = " AND h.status IN (SELECT value FROM json_each(?))"
    narrow += "" if query.with_children else " AND r.parent_run IS NULL"
    found: list[Sequence[Any]] = []
    if wanted & LIVE_STATUSES:
        sql = f"{_LIVE} AND h.updated_at >= ?{narrow}"
        values: list[Any] = [query.since, json.dumps(sorted(wanted))]
        if query.blueprint_id is not None:
            sql += " AND r.blueprint_id = ?"
            values.append(query.blueprint_id)
        sql += " ORDER BY h.updated_at DESC, h.run DESC LIMIT ?"
        found += connection.execute(sql, (*values, query.limit)).fetchall()
    if wanted & FINAL_STATUSES:
        sql = f"{_FINISHED} WHERE f.finished_at >= ?{narrow}"
        values = [query.since, json.dumps(sorted(wanted))]
        if query.blueprint_id is not None:
            sql += " AND f.blueprint_id = ?"
            values.append(query.blueprint_id)
        sql += " ORDER BY f.finished_at DESC, f.number DESC LIMIT ?"
        found += [row[1:] for row in connection.execute(sql, (*values, query.limit)).fetchall()]
    headers = sorted(((build_header(row), row[0]) for row in found), key=lambda pair: (pair[0].updated_at, pair[1]))
    return tuple(header for header, _ in reversed(headers))[: query.limit]


def _add_timers(connection: sqlite3.Connection, arguments: Sequence[Sequence[Timer]]) -> list[None]:
    _INSERT_TIMERS.run(connection, [(t.due_at, t.run_id, t.key) for timers in arguments for t in timers])
    return [None] * len(arguments)


def _drop_timers(connection: sqlite3.Connection, arguments: Sequence[Sequence[Timer]]) -> list[None]:
    connection.executemany(
        "DELETE FROM timers WHERE due_at = ? AND run_id = ? AND key = ?",
        [(t.due_at, t.run_id, t.key) for timers in arguments for t in timers],
    )
    return [None] * len(arguments)


def _count_deaths(connection: sqlite3.Connection, arguments: Sequence[tuple[str, str]]) -> list[int]:
    counts: list[int] = []
    for place in arguments:
        connection.execute(
            "INSERT INTO deaths VALUES (?, ?, 1) ON CONFLICT (run_id, activation) DO UPDATE SET deaths = deaths + 1",
            place,
        )
        sql = "SELECT deaths FROM deaths WHERE run_id = ? AND activation = ?"
        counts += connection.execute(sql, place).fetchall()[0]
    return counts


ADD_TIMERS = WriteKind(10, _add_timers)
DROP_TIMERS = WriteKind(11, _drop_timers)
COUNT_DEATH = WriteKind(12, _count_deaths)
