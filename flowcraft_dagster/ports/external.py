"""Runs that other programs announce in a layout that is not ours."""

from __future__ import annotations

from typing import Protocol


class ExternalStarts(Protocol):
    """Where initial contexts of such runs are found. Nothing is ever written there."""

    async def read_context(self, run_id: str) -> bytes | None:
        """The initial context (JSON) of a run that its program has marked as running; None where there is none.

        Raises:
            StoreUnavailable: the outcome cannot be learned; the caller tries again.
        """
        ...
