"""Finds runs that stand still and wakes them. It never executes and never writes a run.

For each page of live runs: a run is looked at when it is ``running`` or ``cancelling`` and was not touched for the
threshold, or when it is ``awaiting`` and something it waits for has happened. It is read afresh, and if work is left, a
wake is sent; the owner decides. A wake that waits in the queue already is harmless, and is not counted again by a later
pass as long as the run has not moved.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from flowcraft_dagster.engine.facts import Opened
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import AWAITING, Message, RunHeader
from flowcraft_dagster.runtime.history import find_last_opened
from flowcraft_dagster.runtime.live_runs import read_live_runs
from flowcraft_dagster.runtime.messages import JobMessage, encode_job

logger = logging.getLogger(__name__)
PAGE = 200
NOTE_PREFIX = "reconciled/"
NOTE_SECONDS = 3600.0
CLAIM_SECONDS = 60.0
"""For how long other passes leave a run alone that one is about to wake: it may be killed before the wake is sent."""


@dataclass
class ReconciliationStats:
    """What a pass did.

    Attributes:
        stalled_runs: runs that stood still.
        reconciled_runs: runs for which a wake was accepted by the queue.
        failed_runs: runs for which that failed; they are tried again in the next pass.
        waiting_runs: stalled runs whose wake of an earlier pass still waits in the queue.
        scanned_runs: live runs looked at.
        stalled_ids, reconciled_ids, failed_ids: their ids.
        errors: why it failed, by run id.
    """

    stalled_ids: list[str] = field(default_factory=list)
    reconciled_ids: list[str] = field(default_factory=list)
    failed_ids: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    waiting_runs: int = 0
    scanned_runs: int = 0

    @property
    def stalled_runs(self) -> int:
        """How many runs stood still."""
        return len(self.stalled_ids)

    @property
    def reconciled_runs(self) -> int:
        """How many runs were woken."""
        return len(self.reconciled_ids)

    @property
    def failed_runs(self) -> int:
        """How many runs could not be woken."""
        return len(self.failed_ids)


class Reconciler:
    """Finds and wakes stalled runs; safe beside live workers and other reconcilers.

    Args:
        backend: opened ports.
        clock: time.
        stalled_after: seconds without a touch after which a running run counts as stalled.
        dice: randomness; the machine's when None.
    """

    def __init__(
        self, backend: Backend, clock: Clock, *, stalled_after: float = 300.0, dice: random.Random | None = None
    ) -> None:
        self.backend = backend
        self._clock = clock
        self._dice = dice or random.SystemRandom()
        self._stalled_after = stalled_after

    async def run(
        self, *, everything: bool = False, on_page: Callable[[ReconciliationStats], None] | None = None
    ) -> ReconciliationStats:
        """Make one pass over all live runs.

        Args:
            everything: wake every live run, whatever its age: rebuilds the queue after it was lost.
            on_page: called after each page with the figures so far.

        Raises:
            InfrastructureError: the listing cannot be read; runs woken before stay woken.
        """
        stats = ReconciliationStats()
        async for headers in read_live_runs(self.backend.index, PAGE):
            await asyncio.gather(*(self._look_at(header, everything, stats) for header in headers))
            stats.scanned_runs += len(headers)
            if on_page is not None:
                on_page(stats)
        return stats

    async def _look_at(self, listed: RunHeader, everything: bool, stats: ReconciliationStats) -> None:
        if not everything and not self._is_suspect(listed):
            return
        run_id = listed.run_id
        try:
            header = await self.backend.state.read_header(run_id)
            if header is None or header.is_final:
                if header is not None:
                    await self.backend.index.publish(header)
                return
            if header.status == AWAITING and not everything:
                if not await self._has_news(header):
                    return
            elif not everything and header.updated_at > self._clock.now() - self._stalled_after:
                return
            stats.stalled_ids.append(run_id)
            wake = encode_job(JobMessage(run_id, header.blueprint_id))
            if everything:
                await self.backend.jobs.send([wake])
            elif not await self._send_noted(f"{NOTE_PREFIX}{run_id}/{header.seq}/{header.epoch}", wake):
                stats.waiting_runs += 1
                return
            stats.reconciled_ids.append(run_id)
        except FlowcraftError as error:
            if isinstance(error, InfrastructureError):
                logger.warning("run %s cannot be reconciled now: %s", run_id, error)
            stats.failed_ids.append(run_id)
            stats.errors[run_id] = str(error)

    async def _send_noted(self, note: str, wake: Message) -> bool:
        """Send a wake and note it; False where an earlier pass noted the same one, which waits in the queue still."""
        mine = f"{note}/{self._dice.getrandbits(64):016x}"
        coordination = self.backend.coordination
        if not await coordination.acquire_lease(note, mine, CLAIM_SECONDS):
            return False
        try:
            await self.backend.jobs.send([wake])
        except BaseException:
            await coordination.release_lease(note, mine)
            raise
        await coordination.acquire_lease(note, mine, NOTE_SECONDS)
        return True

    def _is_suspect(self, header: RunHeader) -> bool:
        if header.status == AWAITING:
            return True
        return header.updated_at <= self._clock.now() - self._stalled_after

    async def _has_news(self, header: RunHeader) -> bool:
        """Whether something that an awaiting run waits for happened before the threshold and was not taken up."""
        stored = await self.backend.state.load_run(header.run_id)
        if stored is None:
            return False
        before = self._clock.now() - self._stalled_after
        ended = {row.key[len("end/") :] for row in stored.rows if row.key.startswith("end/")}
        for signal in stored.signals:
            is_read = signal.kind == "answer" and signal.key[len("answer/") :] in ended
            if is_read or signal.kind not in ("answer", "cancel"):
                continue
            if float(decode(signal.data).get("at", 0.0)) <= before:
                return True
        for opened in find_last_opened(stored):
            if opened.key not in ended and await self._has_moved(opened, before):
                return True
        return False

    async def _has_moved(self, opened: Opened, before: float) -> bool:
        if float(opened.details.get("wakeAt", float("inf"))) <= before:
            return True
        if opened.kind != "subflow":
            return False
        child = await self.backend.state.read_header(opened.details["childRunId"])
        if child is None:
            return opened.at <= before
        # The parent waits because its child does: a child that goes on or has ended is news.
        return child.status != AWAITING and child.updated_at <= before
