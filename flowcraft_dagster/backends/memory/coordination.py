"""Leases and announcements within one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import FINAL_STATUSES
from flowcraft_dagster.ports.state import StateStore

SWEEP_AT = 1000
"""Number of leases from which on expired ones are looked for."""


class MemoryCoordinationStore:
    """A ``CoordinationStore`` for one process.

    Args:
        clock: lease times and waiting go by it.
        state: asked whether an awaited run has ended already.
    """

    def __init__(self, clock: Clock, state: StateStore) -> None:
        self._clock = clock
        self._state = state
        self._leases: dict[str, tuple[str, float]] = {}
        self._sweep_at = SWEEP_AT
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}

    async def acquire_lease(self, name: str, owner: str, seconds: float) -> bool:
        """See ``CoordinationStore.acquire_lease``."""
        now = self._clock.monotonic()
        holder, until = self._leases.get(name, (owner, 0.0))
        if holder != owner and until > now:
            return False
        self._leases[name] = (owner, now + seconds)
        if len(self._leases) > self._sweep_at:
            self._leases = {name: lease for name, lease in self._leases.items() if lease[1] > now}
            self._sweep_at = SWEEP_AT + 2 * len(self._leases)
        return True

    async def release_lease(self, name: str, owner: str) -> None:
        """See ``CoordinationStore.release_lease``."""
        if self._leases.get(name, (None, 0.0))[0] == owner:
            del self._leases[name]

    async def announce_runs(self, run_ids: Sequence[str]) -> None:
        """See ``CoordinationStore.announce_runs``."""
        for run_id in run_ids:
            for heard in self._waiting.pop(run_id, ()):
                if not heard.done():
                    heard.set_result(True)

    async def await_run(self, run_id: str, seconds: float) -> bool:
        """See ``CoordinationStore.await_run``; a run that has ended is announced at once."""
        header = await self._state.read_header(run_id)
        if header is not None and header.status in FINAL_STATUSES:
            return True
        heard: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, set()).add(heard)
        patience = asyncio.ensure_future(self._clock.sleep(seconds))
        either: tuple[asyncio.Future[Any], ...] = (heard, patience)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return heard.done()
        finally:
            patience.cancel()
            waiting = self._waiting.get(run_id)
            if waiting is not None:
                waiting.discard(heard)
                if not waiting:
                    del self._waiting[run_id]

    async def flush(self) -> None:
        """Forget everything, as a hint store may at any moment."""
        self._leases.clear()

    async def check_health(self) -> str | None:
        """See ``CoordinationStore.check_health``."""
        return None
