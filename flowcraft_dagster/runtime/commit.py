"""The commit protocol: how a node's result becomes part of a run, once, whatever crashes.

1. **Claim.** The first message of a run on this worker reads the run. A fresh run (epoch 0) is claimed by its first
   commit; any other by raising its owner epoch, and is then read again. From here on the owner's memory is
   authoritative: nothing is read in steady state.
2. **Execute** what is pending. The node sees an idempotency key that is stable across retries and redeliveries.
3. **Decide** on the facts plus this batch: edges are chosen and transforms evaluated before, then the fold is applied.
   Timers that the batch opens are stored first.
4. **Commit** the batch: one conditional write, guarded by epoch, by commit number and by "not final". All nodes of a
   run that finish together share one, with the built-in nodes that follow them at once: those run no user code.
5. **Emit** what the commit calls for: start child runs, wake the parent, publish the status, tell waiting clients.
6. **Settle** the messages the run was held by, once nothing of it runs any more. A run that waits for a sub-flow is
   kept in memory, so that its next message begins at 3; if another owner took it meanwhile, 4 refuses, and until
   then no user code runs, whatever the durability.

What a crash leaves behind:

=============================  =====================================================================================
after 1, before 4              nothing committed; the message is redelivered, the next owner raises the epoch and
                               executes again under the same idempotency keys
in 4, outcome unknown          the store reads until it knows whether this commit id was applied
after a timer, before 4        a timer without an open activation: it fires, finds nothing, is dropped
after 4, before 5              the message is redelivered; the next owner finds the facts and emits from them: child
                               ids are derived, so a second start is none; wakes and projections may repeat
after 5, before 6              as above; a finished run's message is settled after one read
a frozen owner comes back      its commit is refused (the epoch moved on) and it forgets the run
=============================  =====================================================================================

Emitted marks of their own are not needed: the owner runs whatever is pending itself, so a duplicate message produces
nothing, and what must be emitted can be derived from the facts by any later owner.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.decide import RunState
from flowcraft_dagster.engine.facts import Fact, StatusChange, encode_fact
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import (
    AWAITING,
    FAILED,
    FINAL_STATUSES,
    RUNNING,
    Commit,
    CommitOutcome,
    Row,
    RunHeader,
)
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point

_FACT_BYTES = 1024
"""What the state holds for a fact beside its values, as measured."""
_DECODED = 5
"""A value is held as JSON and, once an expression has looked at it, decoded too, which takes several times as much."""


class OwnershipLost(FlowcraftError):
    """Another owner has taken the run, or it has ended: stop quietly. Fields: run_id, outcome."""

    template = "run '{run_id}' is no longer owned here ({outcome})"


@dataclass
class OwnedRun:
    """A run while this worker owns it.

    Attributes:
        header: as of the last commit.
        blueprint: what it is pinned to.
        state: the fold of all commits.
        uncommitted: facts applied to ``state`` that are not written yet, a list for each decision.
        memory_bytes: what it takes in memory, about; rather too much than too little.
        to_start: activations decided and not started yet, in the order in which they are to start.
        cancel_reason: set once a cancellation is under way.
    """

    header: RunHeader
    blueprint: Blueprint
    state: RunState
    uncommitted: list[list[Fact]]
    memory_bytes: int = 0
    to_start: deque[Activation] = field(default_factory=deque)
    cancel_reason: str | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.header.run_id

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.header.status in FINAL_STATUSES


class Committer:
    """Steps 3 and 4 of the protocol.

    Args:
        store: where runs live.
        clock: for timestamps.
        dice: for commit ids.
        patience: repeats what a server did not answer.
        worker_id: this worker's incarnation id.
    """

    def __init__(
        self, store: StateStore, clock: Clock, dice: random.Random, patience: Patience, worker_id: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._dice = dice
        self._patience = patience
        self._worker_id = worker_id

    def decide(self, run: OwnedRun, facts: list[Fact]) -> None:
        """Apply facts to the state without writing them; what they start is appended to ``run.to_start``."""
        run.to_start.extend(run.state.apply(facts, close_at=self._clock.now()))
        run.uncommitted.append(facts)

    async def flush(self, run: OwnedRun) -> None:
        """Write what was decided: one conditional commit.

        Raises:
            OwnershipLost: the run is not this worker's any more; nothing was written.
        """
        header, now = run.header, self._clock.now()
        seq, status = header.seq + 1, run.state.status
        steps = run.uncommitted
        moved = status != header.status
        if moved and (status == AWAITING or (header.status == AWAITING and status == RUNNING)):
            steps.append([StatusChange(status, now, seq)])
        if not any(steps) and not moved:
            return
        commit = Commit(
            run_id=header.run_id,
            commit_id=f"{self._dice.getrandbits(128):032x}",
            expected_epoch=header.epoch,
            expected_seq=header.seq,
            epoch=max(1, header.epoch),
            owner=self._worker_id,
            rows=tuple(
                _make_row(fact, seq, step, place)
                for step, facts in enumerate(steps)
                for place, fact in enumerate(facts)
            ),
            status=status,
            now=now,
            reason=_explain(run, status),
            blueprint_id=header.blueprint_id,
            started_at=header.started_at,
            parent=header.parent,
            previous_status=header.status,
        )
        await pass_point(FaultPoint.BEFORE_COMMIT)
        outcome = await self._patience.insist("commit", lambda: self._store.commit(commit))
        if outcome is not CommitOutcome.APPLIED:
            raise OwnershipLost(run_id=header.run_id, outcome=outcome.value)
        run.uncommitted = []
        run.memory_bytes += estimate_memory(commit.rows)
        run.header = replace(
            header,
            epoch=commit.epoch,
            owner=self._worker_id,
            seq=seq,
            status=status,
            reason=commit.reason,
            updated_at=now,
            finished_at=now if status in FINAL_STATUSES else None,
        )
        await pass_point(FaultPoint.AFTER_COMMIT)


def estimate_memory(rows: Sequence[Row], context: bytes = b"") -> int:
    """What rows and an initial context take in memory, in bytes, about: small facts take far more than in the store."""
    size = len(context) + sum(len(row.data) + (0 if row.output is None else len(row.output)) for row in rows)
    return _FACT_BYTES * len(rows) + _DECODED * size


def _make_row(fact: Fact, seq: int, step: int, place: int) -> Row:
    data, output = encode_fact(fact, step, place)
    return Row(key=fact.row_key, seq=seq, data=data, output=output)


def _explain(run: OwnedRun, status: str) -> str | None:
    """Why a run failed or is being cancelled, in one line."""
    if status == FAILED:
        failure = next((failure for failure in run.state.failures if not failure.handled), None)
        if failure is not None:
            text = f"node '{failure.node_id}': {failure.type}: {failure.message}"
            return _escape(" ".join(text.split())[:500])
    return None if run.cancel_reason is None else _escape(run.cancel_reason)


def _escape(text: str) -> str:
    """Stores keep a reason as UTF-8, which cannot hold the lone surrogates that stand for odd bytes of a file name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
