"""The truth about runs, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from flowcraft_dagster.backends.embedded import run_writes
from flowcraft_dagster.backends.embedded.headers import READ_ONE_WITH_CONTEXT, build_header, read_header
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.errors import RunNotFound
from flowcraft_dagster.ports.records import Commit, CommitOutcome, Row, RunHeader, Signal, StoredRun

LONG_RUN = 50
"""Commits from which on a run is read in the reading thread."""


class EmbeddedStateStore:
    """A ``StateStore`` in the file; safe for several processes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create_run(self, header: RunHeader, context: bytes) -> RunHeader | None:
        """See ``StateStore.create_run``."""
        return await self._session.write(run_writes.CREATE_RUN, (header, context))

    async def read_header(self, run_id: str) -> RunHeader | None:
        """See ``StateStore.read_header``."""
        found = self._session.reader.ask(lambda connection: read_header(connection, run_id))
        return None if found is None else found[1]

    async def load_run(self, run_id: str) -> StoredRun | None:
        """See ``StateStore.load_run``."""
        return await self._load(run_id, None)

    async def claim_run(self, run_id: str, owner: str) -> StoredRun | None:
        """See ``StateStore.claim_run``.

        The rows are read after the claim is durable. Should somebody else claim the run in between, the header is
        still that of this claim, so the caller never writes under an epoch that is not its own.
        """
        claimed = await self._session.write(run_writes.CLAIM_RUN, (run_id, owner))
        return None if claimed is None else await self._load(run_id, claimed)

    async def commit(self, commit: Commit) -> CommitOutcome:
        """See ``StateStore.commit``."""
        try:
            return await self._session.write(run_writes.COMMIT, commit)
        except sqlite3.IntegrityError:
            return CommitOutcome.STALE  # a row is there already, so the writer does not know the run's facts

    async def add_signal(self, run_id: str, signal: Signal) -> Signal | None:
        """See ``StateStore.add_signal``."""
        known, there = await self._session.write(run_writes.ADD_SIGNAL, (run_id, signal))
        if not known:
            raise RunNotFound(run_id=run_id)
        return there

    async def read_signals(self, run_id: str) -> tuple[Signal, ...]:
        """See ``StateStore.read_signals``."""
        found = self._session.reader.read(
            "SELECT s.key, s.data FROM runs AS r CROSS JOIN signals AS s ON s.run = r.number WHERE r.run_id = ?",
            (run_id,),
        )
        return tuple(Signal(*values) for values in found)

    async def touch_runs(self, run_ids: Sequence[str], now: float) -> None:
        """See ``StateStore.touch_runs``."""
        if run_ids:
            await self._session.write(run_writes.TOUCH_RUNS, (tuple(run_ids), now))

    async def delete_run(self, run_id: str) -> None:
        """See ``StateStore.delete_run``; a run that has not ended stays."""
        await self._session.write(run_writes.DELETE_RUN, run_id)

    async def save_blueprint(self, content_hash: str, document: bytes) -> None:
        """See ``StateStore.save_blueprint``."""
        if await self.read_blueprint(content_hash) is None:
            await self._session.write(run_writes.SAVE_BLUEPRINT, (content_hash, document))

    async def read_blueprint(self, content_hash: str) -> bytes | None:
        """See ``StateStore.read_blueprint``."""
        found = self._session.reader.read("SELECT document FROM blueprints WHERE content_hash = ?", (content_hash,))
        return found[0][0] if found else None

    async def _load(self, run_id: str, claimed: RunHeader | None) -> StoredRun | None:
        reader = self._session.reader
        found = reader.read(READ_ONE_WITH_CONTEXT, (run_id,))
        if not found:
            return None
        context, number = found[0][:2]
        header = claimed or build_header(found[0][1:])
        if header.seq > LONG_RUN:
            return await reader.ask_apart(lambda connection: _read_facts(connection, number, header, context))
        return reader.ask(lambda connection: _read_facts(connection, number, header, context))


def _read_facts(connection: sqlite3.Connection, number: int, header: RunHeader, context: bytes) -> StoredRun | None:
    # Rows are only ever added, so those up to the header's commit are the run as it stood then.
    rows = connection.execute(
        "SELECT key, seq, data, output FROM facts WHERE run = ? AND seq <= ? ORDER BY seq", (number, header.seq)
    ).fetchall()
    signals = connection.execute("SELECT key, data FROM signals WHERE run = ?", (number,)).fetchall()
    # Until the run is forgotten: looked at last, so that a run without its facts is never taken for an ended one.
    if not connection.execute("SELECT 1 FROM runs WHERE number = ? AND run_id = ?", (number, header.run_id)).fetchall():
        return None
    return StoredRun(header, context, tuple(Row(*row) for row in rows), tuple(Signal(*values) for values in signals))
