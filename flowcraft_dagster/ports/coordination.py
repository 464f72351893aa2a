"""Hints between processes: never needed for a right result, only for speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class CoordinationStore(Protocol):
    """Leases, wake-ups and notes. Losing all of it at any moment costs time, never a run.

    Methods do not raise: an error counts as "no hint".
    """

    async def acquire_lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease. Only for saving work: two owners at once must do no harm."""
        ...

    async def release_lease(self, name: str, owner: str) -> None:
        """Give a lease back, if it is still ``owner``'s."""
        ...

    async def announce_runs(self, run_ids: Sequence[str]) -> None:
        """Tell waiting clients that these runs changed their status."""
        ...

    async def await_run(self, run_id: str, seconds: float) -> bool:
        """Wait until a change of the run is announced, ``seconds`` at most; False when nothing was heard."""
        ...

    async def check_health(self) -> str | None:
        """None when well, otherwise what is wrong, in one line without secrets."""
        ...
