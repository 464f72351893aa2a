"""Runs in dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flowcraft_dagster.backends.conditions import judge_commit
from flowcraft_dagster.errors import RunNotFound
from flowcraft_dagster.ports.records import FINAL_STATUSES, Commit, CommitOutcome, Row, RunHeader, Signal, StoredRun


@dataclass(slots=True)
class RunRecord:
    """Everything stored of one run."""

    number: int
    header: RunHeader
    context: bytes
    rows: dict[str, Row] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    commit_id: str | None = None
    ended_number: int | None = None

    def snapshot(self) -> StoredRun:
        """The run as it stands now."""
        return StoredRun(self.header, self.context, tuple(self.rows.values()), tuple(self.signals.values()))


class MemoryStateStore:
    """A ``StateStore`` that lives as long as the object.

    Attributes:
        runs: all runs by id, in the order they were created.
        live: runs that have not ended, by number, in the order they were created.
        finished: ids of ended runs in the order they ended, by a number that is never used twice.
    """

    def __init__(self) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.live: dict[int, RunRecord] = {}
        self.finished: dict[int, str] = {}
        self._blueprints: dict[str, bytes] = {}
        self._created = 0
        self._ended = 0

    async def create_run(self, header: RunHeader, context: bytes) -> RunHeader | None:
        """See ``StateStore.create_run``."""
        known = self.runs.get(header.run_id)
        if known is not None:
            return known.header
        self._created += 1
        record = RunRecord(self._created, header, context)
        self.runs[header.run_id] = record
        self._file(record)
        return None

    async def read_header(self, run_id: str) -> RunHeader | None:
        """See ``StateStore.read_header``."""
        record = self.runs.get(run_id)
        return None if record is None else record.header

    async def load_run(self, run_id: str) -> StoredRun | None:
        """See ``StateStore.load_run``."""
        record = self.runs.get(run_id)
        return None if record is None else record.snapshot()

    async def claim_run(self, run_id: str, owner: str) -> StoredRun | None:
        """See ``StateStore.claim_run``."""
        record = self.runs.get(run_id)
        if record is None:
            return None
        if not record.header.is_final:
            record.header = replace(record.header, epoch=record.header.epoch + 1, owner=owner)
        return record.snapshot()

    async def commit(self, commit: Commit) -> CommitOutcome:
        """See ``StateStore.commit``."""
        record = self.runs.get(commit.run_id)
        if record is None:
            return CommitOutcome.MISSING
        header = record.header
        outcome, to_write = judge_commit(
            commit, status=header.status, epoch=header.epoch, seq=header.seq, last_commit_id=record.commit_id
        )
        if not to_write:
            return outcome
        rows = {row.key: row for row in commit.rows}
        if len(rows) < len(commit.rows) or not record.rows.keys().isdisjoint(rows):
            return CommitOutcome.STALE
        record.rows.update(rows)
        record.commit_id = commit.commit_id
        final = commit.status in FINAL_STATUSES
        record.header = replace(
            header,
            epoch=commit.epoch,
            owner=commit.owner,
            seq=commit.seq,
            status=commit.status,
            reason=commit.reason,
            updated_at=commit.now,
            finished_at=commit.now if final else None,
        )
        if final:
            self._file(record)
        return CommitOutcome.APPLIED

    async def add_signal(self, run_id: str, signal: Signal) -> Signal | None:
        """See ``StateStore.add_signal``."""
        record = self.runs.get(run_id)
        if record is None:
            raise RunNotFound(run_id=run_id)
        stored = record.signals.setdefault(signal.key, signal)
        return None if stored is signal else stored

    async def read_signals(self, run_id: str) -> tuple[Signal, ...]:
        """See ``StateStore.read_signals``."""
        record = self.runs.get(run_id)
        return () if record is None else tuple(record.signals.values())

    async def touch_runs(self, run_ids: Sequence[str], now: float) -> None:
        """See ``StateStore.touch_runs``."""
        for run_id in run_ids:
            record = self.runs.get(run_id)
            if record is not None and not record.header.is_final:
                record.header = replace(record.header, updated_at=now)

    async def delete_run(self, run_id: str) -> None:
        """See ``StateStore.delete_run``; a run that has not ended stays."""
        record = self.runs.get(run_id)
        if record is not None and record.header.is_final:
            del self.runs[run_id]
            # By its number: looking for it would make forgetting many runs quadratic.
            if record.ended_number is not None:
                del self.finished[record.ended_number]

    async def save_blueprint(self, content_hash: str, document: bytes) -> None:
        """See ``StateStore.save_blueprint``."""
        self._blueprints.setdefault(content_hash, document)

    async def read_blueprint(self, content_hash: str) -> bytes | None:
        """See ``StateStore.read_blueprint``."""
        return self._blueprints.get(content_hash)

    def _file(self, record: RunRecord) -> None:
        if record.header.is_final:
            self.live.pop(record.number, None)
            self._ended += 1
            self.finished[self._ended] = record.header.run_id
            record.ended_number = self._ended
        else:
            self.live[record.number] = record
