"""Requests to start runs: a table that is read by offset."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.backends.lost_requests import MADE_ANEW, TOO_OLD, name_lost
from flowcraft_dagster.backends.request_ranges import plan_ranges
from flowcraft_dagster.errors import QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.records import RequestRange, RunRequest

PARTITION = 0
DROPPED_AT_ONCE = 500
"""Old requests removed by one write, so that no write takes long."""

# Offsets begin at 1 and are never given twice; the sequence remembers the last one when all are gone.
_ENDS = """
SELECT (SELECT min("offset") FROM requests), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0)
"""


class EmbeddedRequestQueue:
    """A ``RequestQueue`` of one partition in the file.

    Args:
        session: the open backend.
        kept_seconds: age from which requests are dropped when others are sent.
    """

    def __init__(self, session: Session, kept_seconds: float = 7 * 86_400.0) -> None:
        self._session = session
        self._kept_seconds = kept_seconds

    async def send_requests(self, values: Sequence[bytes]) -> None:
        """See ``RequestQueue.send_requests``. Raises QueueUnavailable."""
        if not values:
            return
        now = self._session.clock.now()
        try:
            await self._session.write(SEND_REQUESTS, (tuple(values), now, now - self._kept_seconds))
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error

    async def find_ranges(self, positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        """See ``RequestQueue.find_ranges``. Raises QueueUnavailable."""
        known = positions if topic_id in (None, self._session.topic_id) else {}
        return plan_ranges(self._session.topic_id, known, {PARTITION: self._find_ends()}, limit)

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """See ``RequestQueue.read_requests``."""
        if requests.topic_id != self._session.topic_id:
            raise name_lost(requests, MADE_ANEW, queue="embedded")
        rows = self._read(
            'SELECT "offset", value FROM requests WHERE "offset" >= ? AND "offset" < ? ORDER BY "offset"',
            (requests.start, requests.end),
        )
        if len(rows) != requests.end - requests.start:
            first, behind = self._find_ends()
            if first > requests.start:
                raise name_lost(requests, TOO_OLD, queue="embedded", end=first)
            raise QueueUnavailable(f"there is nothing at offset {behind}, before {requests.end}", queue="embedded")
        return tuple(RunRequest(PARTITION, offset, value) for offset, value in rows)

    def _find_ends(self) -> tuple[int, int]:
        """The first offset and the one behind the last."""
        ((first, last),) = self._read(_ENDS)
        return last + 1 if first is None else first, last + 1

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._session.reader.read(sql, values)
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error


def _send_requests(
    connection: sqlite3.Connection, arguments: Sequence[tuple[Sequence[bytes], float, float]]
) -> list[None]:
    for values, now, oldest in arguments:
        connection.executemany("INSERT INTO requests (value, at) VALUES (?, ?)", [(value, now) for value in values])
        # Only from the beginning on, so that what is left is always one piece.
        connection.execute(
            """
            WITH eldest AS (SELECT "offset", at FROM requests ORDER BY "offset" LIMIT ?)
            DELETE FROM requests WHERE "offset" < (
                SELECT coalesce(min(CASE WHEN at >= ? THEN "offset" END), max("offset") + 1) FROM eldest
            )
            """,
            (DROPPED_AT_ONCE, oldest),
        )
    return [None] * len(arguments)


SEND_REQUESTS = WriteKind(60, _send_requests)
