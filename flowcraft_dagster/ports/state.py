"""Where runs live: the one source of truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowcraft_dagster.ports.records import Commit, CommitOutcome, RunHeader, Signal, StoredRun


class StateStore(Protocol):
    """Runs and their facts, a partition per run.

    Every method raises StoreUnavailable when the outcome cannot be learned; the caller tries again.
    """

    async def create_run(self, header: RunHeader, context: bytes) -> RunHeader | None:
        """Store a new run, found by ``RunIndex`` from then on.

        Returns:
            None when stored now, otherwise the header that was there.
        """
        ...

    async def read_header(self, run_id: str) -> RunHeader | None:
        """One plain read of the static part; None for an unknown run."""
        ...

    async def load_run(self, run_id: str) -> StoredRun | None:
        """Read everything without claiming; None for an unknown run."""
        ...

    async def claim_run(self, run_id: str, owner: str) -> StoredRun | None:
        """Raise the epoch by one, make ``owner`` the owner, then read everything.

        A finished run is not claimed but returned as it is.

        Returns:
            The run as it stands under the new epoch, or None for an unknown run.
        """
        ...

    async def commit(self, commit: Commit) -> CommitOutcome:
        """Apply ``commit`` under its conditions, durably."""
        ...

    async def add_signal(self, run_id: str, signal: Signal) -> Signal | None:
        """Insert a signal unless its key is taken.

        Returns:
            None when inserted now, otherwise the signal that was there.
        """
        ...

    async def read_signals(self, run_id: str) -> tuple[Signal, ...]:
        """All signals of a run, in any order."""
        ...

    async def touch_runs(self, run_ids: Sequence[str], now: float) -> None:
        """Set ``updated_at`` of live runs: the owner's heartbeat."""
        ...

    async def delete_run(self, run_id: str) -> None:
        """Forget a finished run and everything stored of it."""
        ...

    async def save_blueprint(self, content_hash: str, document: bytes) -> None:
        """Keep a blueprint's JSON under its content hash; a second time is no harm."""
        ...

    async def read_blueprint(self, content_hash: str) -> bytes | None:
        """The blueprint's JSON, or None."""
        ...
