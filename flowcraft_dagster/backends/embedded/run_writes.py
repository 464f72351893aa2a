"""Writes to runs, each kind for a whole group at once. All of it happens inside one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowcraft_dagster.backends.conditions import judge_commit
from flowcraft_dagster.backends.embedded.connection import BulkInsert
from flowcraft_dagster.backends.embedded.headers import read_header
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.ports.records import FINAL_STATUSES, Commit, CommitOutcome, RunHeader, Signal

_INSERT_RUNS = BulkInsert("INSERT INTO runs", 12)
_INSERT_HEADS = BulkInsert("INSERT INTO heads", 9)
_INSERT_FACTS = BulkInsert("INSERT INTO facts", 5)
_HEAD_COLUMNS = "INSERT INTO heads (run, status, epoch, seq, owner, updated_at, reason, commit_id, finished_at)"
_ON_CONFLICT = """ON CONFLICT (run) DO UPDATE SET status = excluded.status, epoch = excluded.epoch,
    seq = excluded.seq, owner = excluded.owner, updated_at = excluded.updated_at, reason = excluded.reason,
    commit_id = excluded.commit_id"""
# Setting finished_at rewrites the index of live runs, so commits that do not end a run leave it out.
_UPDATE_LIVE = BulkInsert(_HEAD_COLUMNS, 9, _ON_CONFLICT)
_UPDATE_ENDED = BulkInsert(_HEAD_COLUMNS, 9, _ON_CONFLICT + ", finished_at = excluded.finished_at")
# One row with everything in it: see BulkInsert on why steps are dear.
_FIND_HEADS = """
    SELECT json_group_array(json_array(r.run_id, r.number, h.status, h.epoch, h.seq, h.commit_id))
    FROM json_each(?) AS wanted
    CROSS JOIN runs AS r ON r.run_id = wanted.value
    CROSS JOIN heads AS h ON h.run = r.number"""


@dataclass(slots=True)
class Head:
    """What a commit is compared with, as it stands within the transaction."""

    number: int
    status: str
    epoch: int
    seq: int
    commit_id: str | None


def _find_heads(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Head]:
    wanted = json.dumps(list(dict.fromkeys(run_ids)))
    ((found,),) = connection.execute(_FIND_HEADS, (wanted,)).fetchall()
    return {run_id: Head(*values) for run_id, *values in json.loads(found)}


def _create_runs(
    connection: sqlite3.Connection, arguments: Sequence[tuple[RunHeader, bytes]]
) -> list[RunHeader | None]:
    known = _find_heads(connection, [header.run_id for header, _ in arguments])
    ((last,),) = connection.execute("SELECT coalesce(max(number), 0) FROM runs").fetchall()
    fresh: dict[str, RunHeader] = {}
    runs: list[tuple[Any, ...]] = []
    heads: list[tuple[Any, ...]] = []
    ended: list[tuple[int, float]] = []
    results: list[RunHeader | None] = []
    for header, context in arguments:
        if header.run_id in known:
            there = read_header(connection, header.run_id)
            results.append(there[1] if there else None)
            continue
        if header.run_id in fresh:
            results.append(fresh[header.run_id])
            continue
        fresh[header.run_id] = header
        results.append(None)
        last += 1
        runs.append((last, *_fixed_values(header), context))
        heads.append(
            (
                last,
                header.status,
                header.epoch,
                header.seq,
                header.owner,
                header.updated_at,
                header.finished_at,
                header.reason,
                None,
            )
        )
        if header.is_final:
            ended.append((last, header.updated_at))
    _INSERT_RUNS.run(connection, runs)
    _INSERT_HEADS.run(connection, heads)
    _note_ended(connection, ended)
    return results


def _fixed_values(header: RunHeader) -> tuple[Any, ...]:
    parent = header.parent
    link = (None, None, None) if parent is None else (parent.run_id, parent.activation, parent.attempt)
    tags = json.dumps(dict(header.tags), ensure_ascii=False) if header.tags else "{}"
    return (
        header.run_id,
        header.blueprint_id,
        header.blueprint_hash,
        header.input_hash,
        header.started_at,
        *link,
        header.retry_of,
        tags,
    )


def _commit_runs(connection: sqlite3.Connection, commits: Sequence[Commit]) -> list[CommitOutcome]:
    heads = _find_heads(connection, [commit.run_id for commit in commits])
    outcomes: list[CommitOutcome] = []
    written: dict[int, tuple[Any, ...]] = {}
    facts: list[tuple[Any, ...]] = []
    ended: list[tuple[int, float]] = []
    for commit in commits:
        head = heads.get(commit.run_id)
        if head is None:
            outcomes.append(CommitOutcome.MISSING)
            continue
        outcome, to_write = judge_commit(
            commit, status=head.status, epoch=head.epoch, seq=head.seq, last_commit_id=head.commit_id
        )
        outcomes.append(outcome)
        if not to_write:
            continue
        number, seq = head.number, commit.expected_seq + 1
        head.status, head.epoch, head.seq, head.commit_id = commit.status, commit.epoch, seq, commit.commit_id
        final = commit.status in FINAL_STATUSES
        # The last one of a run stands: a run may commit twice in a group only when the first was repeated or lost.
        written[number] = (
            number,
            commit.status,
            commit.epoch,
            seq,
            commit.owner,
            commit.now,
            commit.reason,
            commit.commit_id,
            commit.now if final else None,
        )
        for row in commit.rows:
            facts.append((number, row.key, seq, row.data, row.output))
        if final:
            ended.append((number, commit.now))
    ended_numbers = {number for number, _ in ended}
    _UPDATE_LIVE.run(connection, [values for number, values in written.items() if number not in ended_numbers])
    _UPDATE_ENDED.run(connection, [values for number, values in written.items() if number in ended_numbers])
    _INSERT_FACTS.run(connection, facts)
    _note_ended(connection, ended)
    return outcomes


def _note_ended(connection: sqlite3.Connection, ended: Sequence[tuple[int, float]]) -> None:
    if ended:
        connection.executemany(
            "INSERT INTO finished (run, blueprint_id, finished_at) SELECT number, blueprint_id, ? FROM runs "
            "WHERE number = ?",
            [(at, number) for number, at in ended],
        )


def _claim_runs(connection: sqlite3.Connection, arguments: Sequence[tuple[str, str]]) -> list[RunHeader | None]:
    results: list[RunHeader | None] = []
    for run_id, owner in arguments:
        found = read_header(connection, run_id)
        if found is None or found[1].is_final:
            results.append(found[1] if found else None)
            continue
        number, header = found
        connection.execute("UPDATE heads SET epoch = epoch + 1, owner = ? WHERE run = ?", (owner, number))
        results.append(replace(header, epoch=header.epoch + 1, owner=owner))
    return results


def _add_signals(
    connection: sqlite3.Connection, arguments: Sequence[tuple[str, Signal]]
) -> list[tuple[bool, Signal | None]]:
    """Returns, for each, whether the run is known and the signal that was there."""
    results: list[tuple[bool, Signal | None]] = []
    for run_id, signal in arguments:
        done = connection.execute(
            "INSERT OR IGNORE INTO signals SELECT number, ?, ? FROM runs WHERE run_id = ?",
            (signal.key, signal.data, run_id),
        )
        if done.rowcount == 1:
            results.append((True, None))
            continue
        there = connection.execute(
            "SELECT s.key, s.data FROM runs AS r CROSS JOIN signals AS s ON s.run = r.number "
            "WHERE r.run_id = ? AND s.key = ?",
            (run_id, signal.key),
        ).fetchall()
        results.append((True, Signal(*there[0])) if there else (False, None))
    return results


def _touch_runs(connection: sqlite3.Connection, arguments: Sequence[tuple[Sequence[str], float]]) -> list[None]:
    for run_ids, now in arguments:
        connection.execute(
            "UPDATE heads SET updated_at = ? WHERE finished_at IS NULL AND run IN "
            "(SELECT number FROM runs WHERE run_id IN (SELECT value FROM json_each(?)))",
            (now, json.dumps(list(run_ids))),
        )
    return [None] * len(arguments)


def _delete_runs(connection: sqlite3.Connection, arguments: Sequence[str]) -> list[None]:
    for run_id in arguments:
        found = read_header(connection, run_id)
        if found is None or not found[1].is_final:
            continue
        number = found[0]
        for table in ("facts", "signals", "heads", "finished"):
            connection.execute(f"DELETE FROM {table} WHERE run = ?", (number,))  # noqa: S608 - names from above
        connection.execute("DELETE FROM deaths WHERE run_id = ?", (run_id,))
        connection.execute("DELETE FROM runs WHERE number = ?", (number,))
    return [None] * len(arguments)


def _save_blueprints(connection: sqlite3.Connection, arguments: Sequence[tuple[str, bytes]]) -> list[None]:
    connection.executemany("INSERT OR IGNORE INTO blueprints VALUES (?, ?)", arguments)
    return [None] * len(arguments)


SAVE_BLUEPRINT = WriteKind(0, _save_blueprints)
CREATE_RUN = WriteKind(1, _create_runs)
CLAIM_RUN = WriteKind(2, _claim_runs)
COMMIT = WriteKind(3, _commit_runs)
ADD_SIGNAL = WriteKind(4, _add_signals)
TOUCH_RUNS = WriteKind(5, _touch_runs)
DELETE_RUN = WriteKind(6, _delete_runs)
