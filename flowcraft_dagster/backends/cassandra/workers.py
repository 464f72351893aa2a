"""Records of worker processes in Cassandra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.ports.records import WorkerRecord

SCOPE = "workers"
"""All records lie in one partition: there are few, and they are read together."""


class CassandraWorkerRegistry:
    """A ``WorkerRegistry`` on Cassandra; records vanish by themselves.

    Args:
        session: the connection.
    """

    def __init__(self, session: CassandraSession) -> None:
        self._session = session

    async def record_worker(self, record: WorkerRecord) -> None:
        """See ``WorkerRegistry.record_worker``. Raises StoreUnavailable."""
        await self._session.write(
            "write_worker",
            SCOPE,
            record.worker_id,
            record.slot,
            record.pid,
            record.host,
            record.state,
            record.started_at,
            record.seen_at,
            orjson.dumps(dict(record.health)).decode(),
            self._session.settings.worker_ttl_seconds,
        )

    async def read_worker(self, worker_id: str) -> WorkerRecord | None:
        """See ``WorkerRegistry.read_worker``. Raises StoreUnavailable."""
        rows = await self._session.read("read_worker", SCOPE, worker_id)
        return _read(rows[0]) if rows else None

    async def list_workers(self, since: float) -> tuple[WorkerRecord, ...]:
        """See ``WorkerRegistry.list_workers``. Raises StoreUnavailable."""
        records = [_read(row) for row in await self._session.read("read_workers", SCOPE)]
        return tuple(record for record in records if record.seen_at >= since)


def _read(row: Sequence[Any]) -> WorkerRecord:
    worker_id, slot, pid, host, state, started_at, seen_at, health = row
    return WorkerRecord(worker_id, slot, pid, host, state, started_at, seen_at, orjson.loads(health))
