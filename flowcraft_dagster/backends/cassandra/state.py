"""Runs in Cassandra: one partition each, changed by conditional statements only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.backends.cassandra.driver import UNSET_VALUE, ResultSet
from flowcraft_dagster.backends.cassandra.headers import (
    read_columns,
    read_head,
    write_parent,
    write_tags,
)
from flowcraft_dagster.backends.cassandra.listings import RunListings
from flowcraft_dagster.backends.cassandra.runs import (
    BEHIND_SIGNALS,
    CONTEXT_KEY,
    FACT_PREFIX,
    SIGNAL_PREFIX,
    check_commit,
    check_size,
    is_same_start,
    read_run,
)
from flowcraft_dagster.backends.cassandra.session import Bound, CassandraSession, Part, Unanswered
from flowcraft_dagster.backends.cassandra.statements import HEAD_COLUMNS
from flowcraft_dagster.backends.conditions import judge_commit
from flowcraft_dagster.errors import RunNotFound, StoreUnavailable
from flowcraft_dagster.ports.records import (
    CANCELLING,
    FINAL_STATUSES,
    Commit,
    CommitOutcome,
    RunHeader,
    Signal,
    StoredRun,
)

logger = logging.getLogger(__name__)

SMALL_RUN = 100
"""Rows that are read together with the head; those of larger runs follow without repeating it."""

SLOW_START_SECONDS = 25.0
"""A start that takes longer is listed again: its bucket may have been closed meanwhile."""


class CassandraStateStore:
    """A ``StateStore`` on Cassandra.

    A commit is one conditional statement on one partition, or a conditional batch for several rows. When the server
    does not answer, the head is read at the serial level and its commit id compared, and the commit is repeated if
    it was not applied. Projections do not follow a commit by themselves: the owner publishes the header.

    Args:
        session: the connection.
        listings: the projections that follow the head.
    """

    def __init__(self, session: CassandraSession, listings: RunListings) -> None:
        self._session = session
        self._listings = listings
        self._saved: set[str] = set()

    async def create_run(self, header: RunHeader, context: bytes) -> RunHeader | None:
        """See ``StateStore.create_run``. Raises SizeLimitExceeded."""
        check_size("the initial context", len(context), self._session.settings.max_context_bytes)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self._listings.list_live(header)
        values = (
            header.run_id,
            CONTEXT_KEY,
            context,
            header.status,
            header.epoch,
            header.seq,
            header.owner,
            header.blueprint_id,
            header.blueprint_hash,
            header.input_hash,
            header.reason,
            write_parent(header.parent),
            write_tags(header.tags),
            header.retry_of,
            header.started_at,
            header.updated_at,
        )
        # A null would be stored as a tombstone.
        bound = await self._session.bind("create_run", [UNSET_VALUE if value is None else value for value in values])

        async def attempt() -> RunHeader | None:
            try:
                rows, response = await self._session.attempt(bound)
            except Unanswered:
                stored = await self._settle_head(header.run_id)
                if stored is None:
                    raise
                return None if is_same_start(stored, header) else stored
            if rows[0][0]:
                return None
            return read_columns(header.run_id, _name(rows[0], response))

        stored = await self._session.insist("create_run", attempt)
        if stored is None:
            if loop.time() - started > SLOW_START_SECONDS:
                await self._listings.list_live(header)
            try:
                await self._listings.publish(header)
            except StoreUnavailable as error:
                # The run is stored, and that is what counts; its status row comes with its next change.
                logger.warning("run '%s' has no status row yet: %s", header.run_id, error)
        return stored

    async def read_header(self, run_id: str) -> RunHeader | None:
        """See ``StateStore.read_header``."""
        rows = await self._session.read("read_head", run_id)
        return read_head(run_id, rows[0][1:]) if rows else None

    async def load_run(self, run_id: str) -> StoredRun | None:
        """See ``StateStore.load_run``."""
        rows = await self._session.read("read_run", run_id, SMALL_RUN)
        if not rows:
            return None
        header = read_head(run_id, rows[0][4:])
        if header is None:
            return None
        if len(rows) == SMALL_RUN:
            rows += await self._session.read("read_more", run_id, rows[-1][0])
        return read_run(header, rows)

    async def claim_run(self, run_id: str, owner: str) -> StoredRun | None:
        """See ``StateStore.claim_run``."""

        async def attempt() -> StoredRun | None:
            header = await self.read_header(run_id)
            if header is not None and not header.is_final:
                bound = await self._session.bind("claim_run", (header.epoch + 1, owner, run_id, header.epoch))
                try:
                    rows, _ = await self._session.attempt(bound)
                except Unanswered:
                    await self._settle_head(run_id)
                else:
                    if not rows[0][0]:
                        raise Unanswered("others claim the run too")
            run = await self.load_run(run_id)
            if run is None or run.header.is_final:
                return run
            if header is None or run.header.epoch != header.epoch + 1 or run.header.owner != owner:
                raise Unanswered("others claim the run too")
            return run

        return await self._session.insist("claim_run", attempt)

    async def commit(self, commit: Commit) -> CommitOutcome:
        """See ``StateStore.commit``. Raises SizeLimitExceeded."""
        check_commit(commit, self._session.settings)
        if len({row.key for row in commit.rows}) < len(commit.rows):
            return CommitOutcome.STALE
        bound = await self._bind_commit(commit)

        async def attempt() -> CommitOutcome:
            try:
                rows, _ = await self._session.attempt(bound)
            except Unanswered:
                outcome, is_open = await self._judge(commit)
                if is_open:
                    raise
                return outcome
            if rows[0][0]:
                return CommitOutcome.APPLIED
            outcome, is_open = await self._judge(commit)
            # Epoch and seq are as expected and yet it was refused: one of its rows is there already.
            return CommitOutcome.STALE if is_open else outcome

        return await self._session.insist("commit", attempt)

    async def add_signal(self, run_id: str, signal: Signal) -> Signal | None:
        """See ``StateStore.add_signal``. Raises RunNotFound and SizeLimitExceeded."""
        check_size(f"the signal '{signal.key}'", len(signal.data), self._session.settings.max_value_bytes)
        key = SIGNAL_PREFIX + signal.key
        bound = await self._session.bind("add_signal", (signal.data, run_id, key))

        async def attempt() -> Signal | None:
            try:
                rows, response = await self._session.attempt(bound)
            except Unanswered:
                rows = await self._session.read("read_signal", run_id, key, serial=True)
                if not rows or rows[0][0] is None:
                    raise
                # Who adds a signal puts into it what makes it different from others.
                return None if rows[0][0] == signal.data else Signal(signal.key, rows[0][0])
            if rows[0][0]:
                return None
            there = _name(rows[0], response)
            if there.get("status") is None:
                raise RunNotFound(run_id=run_id)
            return Signal(signal.key, there["data"])

        return await self._session.insist("add_signal", attempt)

    async def read_signals(self, run_id: str) -> tuple[Signal, ...]:
        """See ``StateStore.read_signals``."""
        rows = await self._session.read("read_range", run_id, SIGNAL_PREFIX, BEHIND_SIGNALS)
        return tuple(Signal(key[len(SIGNAL_PREFIX) :], data) for key, data in rows if data is not None)

    async def touch_runs(self, run_ids: Sequence[str], now: float) -> None:
        """See ``StateStore.touch_runs``."""
        await asyncio.gather(*(self._listings.touch(run_id, now) for run_id in run_ids))

    async def delete_run(self, run_id: str) -> None:
        """See ``StateStore.delete_run``; a run that has not ended stays."""
        header = await self.read_header(run_id)
        if header is not None:
            if not header.is_final:
                return
            parts: list[Part] = [("forget_head", (run_id,)), ("forget_rows", (run_id,))]
            batch = await self._session.batch(parts)
            await self._session.insist("delete_run", lambda: self._session.attempt(batch))
        await self._listings.forget(run_id)

    async def save_blueprint(self, content_hash: str, document: bytes) -> None:
        """See ``StateStore.save_blueprint``. Raises SizeLimitExceeded."""
        if content_hash in self._saved:
            return
        check_size("the blueprint", len(document), self._session.settings.max_context_bytes)
        await self._session.write("save_blueprint", content_hash, document)
        self._saved.add(content_hash)

    async def read_blueprint(self, content_hash: str) -> bytes | None:
        """See ``StateStore.read_blueprint``."""
        rows = await self._session.read("read_blueprint", content_hash)
        return rows[0][0] if rows else None

    async def _bind_commit(self, commit: Commit) -> Bound:
        # Columns that stay as they are are left out: a null is a tombstone, and every value is written three times.
        claims = commit.epoch != commit.expected_epoch
        head = (
            commit.epoch if claims else UNSET_VALUE,
            commit.seq,
            commit.owner if claims else UNSET_VALUE,
            commit.status,
            commit.commit_id,
            commit.now,
            UNSET_VALUE if commit.reason is None and commit.previous_status != CANCELLING else commit.reason,
            commit.now if commit.status in FINAL_STATUSES else UNSET_VALUE,
        )
        expected = (commit.expected_epoch, commit.expected_seq)
        if not commit.rows:
            return await self._session.bind("commit_head", (*head, commit.run_id, *expected))
        # One row goes into the statement that moves the head: a single statement costs less than a batch of two.
        first, *others = commit.rows
        values = (first.seq, first.data, first.output, commit.run_id, FACT_PREFIX + first.key)
        move: Part = ("commit_row", (*head, *values, *expected))
        if not others:
            return await self._session.bind(*move)
        inserts: list[Part] = [
            ("insert_row", (commit.run_id, FACT_PREFIX + row.key, row.seq, row.data, row.output)) for row in others
        ]
        return await self._session.batch([move, *inserts])

    async def _judge(self, commit: Commit) -> tuple[CommitOutcome, bool]:
        """What became of a commit, and whether it could still be applied."""
        rows = await self._session.read("read_head", commit.run_id, serial=True)
        header = read_head(commit.run_id, rows[0][1:]) if rows else None
        if header is None:
            return CommitOutcome.MISSING, False
        return judge_commit(
            commit,
            status=header.status,
            epoch=header.epoch,
            seq=header.seq,
            last_commit_id=rows[0][1 + HEAD_COLUMNS.index("commit_id")],
        )

    async def _settle_head(self, run_id: str) -> RunHeader | None:
        """Read the head so that an unfinished conditional write is either completed or void."""
        rows = await self._session.read("read_head", run_id, serial=True)
        return read_head(run_id, rows[0][1:]) if rows else None


def _name(row: tuple[Any, ...], response: Any) -> dict[str, Any]:
    """A row by column name: what a refused condition answers differs from one case to the next."""
    return dict(zip(ResultSet(response, [row]).column_names, row, strict=True))
