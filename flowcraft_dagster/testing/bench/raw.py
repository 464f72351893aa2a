"""The raw rate of the store below: conditional commits of a bare client, one row each, many in flight."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.records import COMPLETED, RUNNING, Commit, CommitOutcome, Row, RunHeader
from flowcraft_dagster.ports.state import StateStore

IN_FLIGHT = 64
_DATA = b'{"padding":"' + b"x" * 180 + b'"}'
_HASH = "0" * 64


async def measure_raw_commits(store: StateStore, runs: int) -> float:
    """Commits a second that ``store`` takes from one client with 64 in flight, each to a run of its own.

    Args:
        store: an open store, used by nobody else meanwhile.
        runs: how many are committed to; they are made before the clock starts and ended after it has stopped.
    """
    run_ids = [f"raw-{uuid.uuid4().hex}" for _ in range(runs)]
    await _for_each(run_ids, lambda run_id: store.create_run(_make_header(run_id), b"{}"))
    began = time.perf_counter()
    await _for_each(run_ids, lambda run_id: _commit(store, run_id, 0, RUNNING))
    took = time.perf_counter() - began
    # So that no reconciler and no index finds them live.
    await _for_each(run_ids, lambda run_id: _commit(store, run_id, 1, COMPLETED))
    return runs / took


async def _for_each(run_ids: Sequence[str], call: Callable[[str], Awaitable[object]]) -> None:
    left = deque(run_ids)

    async def take_turns() -> None:
        while left:
            await call(left.popleft())

    await asyncio.gather(*(take_turns() for _ in range(IN_FLIGHT)))


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
