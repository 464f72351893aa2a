"""Reading run headers from their two tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.ports.records import ParentLink, RunHeader

COLUMNS = """r.number, r.run_id, r.blueprint_id, r.blueprint_hash, r.input_hash, h.status, h.epoch, h.owner, h.seq,
    r.started_at, h.updated_at, h.finished_at, r.parent_run, r.parent_activation, r.parent_attempt, h.reason, r.tags,
    r.retry_of"""
TABLES = "runs AS r CROSS JOIN heads AS h ON h.run = r.number"
READ_ONE = f"SELECT {COLUMNS} FROM {TABLES} WHERE r.run_id = ?"  # noqa: S608 - constant parts only
READ_ONE_WITH_CONTEXT = f"SELECT r.context, {COLUMNS} FROM {TABLES} WHERE r.run_id = ?"  # noqa: S608 - as above


def build_header(values: Sequence[Any]) -> RunHeader:
    """A header from the values of ``COLUMNS``."""
    run_id, blueprint_id, blueprint_hash, input_hash, status, epoch, owner, seq, started_at, updated_at = values[1:11]
    finished_at, parent_run, parent_activation, parent_attempt, reason, tags, retry_of = values[11:]
    return RunHeader(
        run_id,
        blueprint_id,
        blueprint_hash,
        input_hash,
        status,
        epoch,
        owner,
        seq,
        started_at,
        updated_at,
        finished_at,
        None if parent_run is None else ParentLink(parent_run, parent_activation, parent_attempt),
        reason,
        {} if tags == "{}" else json.loads(tags),
        retry_of,
    )


def read_header(connection: sqlite3.Connection, run_id: str) -> tuple[int, RunHeader] | None:
    """The number and header of one run, or None."""
    rows = connection.execute(READ_ONE, (run_id,)).fetchall()
    return (rows[0][0], build_header(rows[0])) if rows else None
