"""What every registry of workers must do."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import WorkerRecord
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.samples import new_id


class WorkerRegistryContract(BackendContract):
    """Records of workers."""

    @on_backend
    async def test_a_record_is_read_as_it_was_written(self, backend: Backend) -> None:
        record = _record(health={"lanes": 3, "nodes": {"add": 7}, "note": "é"})
        assert await backend.workers.read_worker(record.worker_id) is None
        await backend.workers.record_worker(record)
        assert await backend.workers.read_worker(record.worker_id) == record

    @on_backend
    async def test_the_last_record_stands(self, backend: Backend) -> None:
        record = _record()
        await backend.workers.record_worker(record)
        stopped = replace(record, state="stopped", seen_at=record.seen_at + 5, health={"lanes": 0})
        await backend.workers.record_worker(stopped)
        assert await backend.workers.read_worker(record.worker_id) == stopped

    @on_backend
    async def test_workers_are_listed_by_when_they_were_seen(self, backend: Backend) -> None:
        now = time.time()
        records = [_record(seen_at=now - age) for age in (0, 100, 200)]
        for record in records:
            await backend.workers.record_worker(record)
        ids = {record.worker_id for record in records}
        for since, expected in ((now - 150, records[:2]), (now - 300, records), (now + 60, [])):
            listed = [x for x in await backend.workers.list_workers(since) if x.worker_id in ids]
            assert sorted(x.worker_id for x in listed) == sorted(x.worker_id for x in expected)

    @on_backend
    async def test_another_connection_sees_the_worker(self, backend: Backend) -> None:
        record = _record()
        await backend.workers.record_worker(record)
        async with self.connected() as other:
            assert await other.workers.read_worker(record.worker_id) == record


def _record(health: dict[str, object] | None = None, seen_at: float | None = None) -> WorkerRecord:
    now = time.time()
    return WorkerRecord(
        worker_id=new_id("worker"),
        slot="host-1",
        pid=os.getpid(),
        host="host",
        state="alive",
        started_at=now - 10,
        seen_at=now if seen_at is None else seen_at,
        health=health or {},
    )
