"""Worker records, with the operating system as witness of deaths."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.ports.records import WorkerRecord

ALIVE = "alive"
DEAD = "dead"
KEPT_SECONDS = 7 * 86_400.0
"""Age from which the record of a worker that is seen no more is dropped."""
_COLUMNS = "worker_id, slot, pid, host, state, started_at, seen_at, health"


class EmbeddedWorkerRegistry:
    """A ``WorkerRegistry`` in the file.

    A worker that records itself as ``alive`` holds a lock file from then on. Once that lock is free without a
    ``stopped`` record, the worker is reported with state ``dead``.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def record_worker(self, record: WorkerRecord) -> None:
        """See ``WorkerRegistry.record_worker``; call it from the worker's own process."""
        name = f"worker/{record.worker_id}"
        if record.state == ALIVE:
            self._session.presence.hold(name)
        await self._session.write(RECORD_WORKER, (record, record.seen_at - KEPT_SECONDS))
        if record.state != ALIVE:
            self._session.presence.leave(name)

    async def read_worker(self, worker_id: str) -> WorkerRecord | None:
        """See ``WorkerRegistry.read_worker``."""
        rows = self._session.reader.read(f"SELECT {_COLUMNS} FROM workers WHERE worker_id = ?", (worker_id,))  # noqa: S608
        return self._build(rows[0]) if rows else None

    async def list_workers(self, since: float) -> tuple[WorkerRecord, ...]:
        """See ``WorkerRegistry.list_workers``."""
        sql = f"SELECT {_COLUMNS} FROM workers WHERE seen_at >= ? ORDER BY started_at, worker_id"  # noqa: S608
        return tuple(map(self._build, self._session.reader.read(sql, (since,))))

    def _build(self, row: Sequence[Any]) -> WorkerRecord:
        worker_id, slot, pid, host, state, started_at, seen_at, health = row
        record = WorkerRecord(worker_id, slot, pid, host, state, started_at, seen_at, json.loads(health))
        if record.state == ALIVE and self._session.presence.has_ended(f"worker/{record.worker_id}"):
            return replace(record, state=DEAD)
        return record


def _record_workers(connection: sqlite3.Connection, arguments: Sequence[tuple[WorkerRecord, float]]) -> list[None]:
    connection.executemany(
        "REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (r.worker_id, r.slot, r.pid, r.host, r.state, r.started_at, r.seen_at, json.dumps(dict(r.health)))
            for r, _ in arguments
        ],
    )
    connection.execute("DELETE FROM workers WHERE seen_at < ?", (min(oldest for _, oldest in arguments),))
    return [None] * len(arguments)


RECORD_WORKER = WriteKind(20, _record_workers)
