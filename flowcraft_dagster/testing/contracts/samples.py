"""Runs, commits and messages for the suites."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

from flowcraft_dagster.ports.records import RUNNING, Commit, Row, RunHeader, StoredRun
from flowcraft_dagster.ports.state import StateStore


def new_id(prefix: str = "run") -> str:
    """An id nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def new_header(**fields: Any) -> RunHeader:
    """The header of a run that has just been accepted; ``fields`` replace its own."""
    now = time.time()
    header = RunHeader(
        run_id=new_id(),
        blueprint_id="moderation",
        blueprint_hash="a" * 64,
        input_hash="b" * 64,
        status=RUNNING,
        epoch=0,
        owner=None,
        seq=0,
        started_at=now,
        updated_at=now,
    )
    return replace(header, **fields)


async def new_run(state: StateStore, context: bytes = b'{"post":1}', **fields: Any) -> RunHeader:
    """Store a run and return its header."""
    header = new_header(**fields)
    there = await state.create_run(header, context)
    assert there is None, "the sample's run id is taken"
    return header


def next_commit(header: RunHeader, *keys: str, status: str = RUNNING, owner: str = "worker-1", **fields: Any) -> Commit:
    """A commit that follows ``header``; a run without an owner is claimed by it.

    Args:
        header: the run as its owner knows it.
        keys: keys of the rows to write.
        status: status afterwards.
        owner: who writes.
        fields: replace the commit's own.
    """
    seq = header.seq + 1
    rows = tuple(Row(key, seq, f'{{"key":"{key}"}}'.encode(), b'{"value":1}') for key in keys)
    commit = Commit(
        run_id=header.run_id,
        commit_id=new_id("commit"),
        expected_epoch=header.epoch,
        expected_seq=header.seq,
        epoch=header.epoch or 1,
        owner=owner,
        rows=rows,
        status=status,
        now=time.time(),
        blueprint_id=header.blueprint_id,
        started_at=header.started_at,
        parent=header.parent,
        previous_status=header.status,
    )
    return replace(commit, **fields)


async def load(state: StateStore, run_id: str) -> StoredRun:
    """A run that must be there."""
    run = await state.load_run(run_id)
    assert run is not None, f"run {run_id} is gone"
    return run
