"""The raw rate of the store below: conditional commits of a bare client, one row each, many in flight."""

from __future__ import annotations

import asyncio
import time
import uuid

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.records import COMPLETED, RUNNING, Commit, CommitOutcome, Row, RunHeader
from flowcraft_dagster.ports.state import StateStore

IN_FLIGHT = 64
_DATA = b'{"padding":"' + b"x" * 180 + b'"}'
_HASH = "0" * 64


async def measure_raw_commits(store: StateStore, seconds: float) -> float:
    """Commits a second that ``store`` takes from one client with 64 in flight, each to a run of its own.

    Args:
        store: an open store, used by nobody else meanwhile.
        seconds: how long to measure.
    """
    counts = [0] * IN_FLIGHT
    run_ids = [f"raw-{uuid.uuid4().hex}" for _ in range(IN_FLIGHT)]
    await asyncio.gather(*(store.create_run(_make_header(run_id), b"{}") for run_id in run_ids))
    began = time.perf_counter()
    end = began + seconds

    async def commit_on(number: int) -> None:
        while time.perf_counter() < end:
            await _commit(store, run_ids[number], counts[number], RUNNING)
            counts[number] += 1

    await asyncio.gather(*map(commit_on, range(IN_FLIGHT)))
    took = time.perf_counter() - began
    # So that no reconciler and no index finds them live.
    await asyncio.gather(*(_commit(store, run_ids[number], counts[number], COMPLETED) for number in range(IN_FLIGHT)))
    return sum(counts) / took


async def _commit(store: StateStore, run_id: str, seq: int, status: str) -> None:
    outcome = await store.commit(
        Commit(
            run_id=run_id,
            commit_id=uuid.uuid4().hex,
            expected_epoch=1 if seq else 0,
            expected_seq=seq,
            epoch=1,
            owner="raw",
            rows=(Row(f"end/n{seq}", seq + 1, _DATA, b"1"),),
            status=status,
            now=time.time(),
            blueprint_id="raw",
            previous_status=RUNNING,
        )
    )
    if outcome is not CommitOutcome.APPLIED:
        raise FlowcraftError(f"a commit that must apply was {outcome.value}")


def _make_header(run_id: str) -> RunHeader:
    now = time.time()
    return RunHeader(
        run_id=run_id,
        blueprint_id="raw",
        blueprint_hash=_HASH,
        input_hash=_HASH,
        status=RUNNING,
        epoch=0,
        owner=None,
        seq=0,
        started_at=now,
        updated_at=now,
    )
