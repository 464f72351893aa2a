"""Requests to start runs: a table that is read by offset."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.errors import QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.records import RequestRange, RunRequest

PARTITION = 0
DROPPED_AT_ONCE = 500
"""Old requests removed by one write, so that no write takes long."""


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
        wanted = positions.get(PARTITION, 0) if topic_id in (None, self._session.topic_id) else 0
        try:
            ((first, last),) = self._session.reader.read(
                'SELECT (SELECT min("offset") FROM requests), (SELECT max("offset") FROM requests)'
            )
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error
        if last is None or limit <= 0:
            return []
        # Offsets in the table begin at 1; 0 stands for the beginning, where nothing can have been lost.
        start = max(wanted, first)
        lost = start - max(wanted, 1)
        end = min(last + 1, start + limit)
        return [RequestRange(self._session.topic_id, PARTITION, start, end, lost)] if start < end else []

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """See ``RequestQueue.read_requests``."""
        try:
            rows = self._session.reader.read(
                'SELECT "offset", value FROM requests WHERE "offset" >= ? AND "offset" < ? ORDER BY "offset"',
                (requests.start, requests.end),
            )
        except StoreUnavailable as error:
            raise QueueUnavailable(error.fields["reason"], queue="embedded") from error
        if requests.topic_id != self._session.topic_id or len(rows) != requests.end - requests.start:
            raise QueueUnavailable("the requests asked for are no longer there", queue="embedded")
        return tuple(RunRequest(PARTITION, offset, value) for offset, value in rows)


def _send_requests(
    connection: sqlite3.Connection, arguments: Sequence[tuple[Sequence[bytes], float, float]]
) -> list[None]:
    for values, now, oldest in arguments:
        connection.executemany("INSERT INTO requests (value, at) VALUES (?, ?)", [(value, now) for value in values])
        # Only from the beginning on, so that what is left is always one piece.
        connection.execute(
            """DELETE FROM requests WHERE "offset" <
                (SELECT coalesce(min("offset"), 0) FROM
                    (SELECT "offset", at FROM requests ORDER BY "offset" LIMIT ?) WHERE at >= ?)""",
            (DROPPED_AT_ONCE, oldest),
        )
    return [None] * len(arguments)


SEND_REQUESTS = WriteKind(60, _send_requests)
