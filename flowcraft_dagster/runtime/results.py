"""From what became of an activation to the facts that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execute import describe_failure
from flowcraft_dagster.engine.facts import (
    FAILED,
    INTERRUPTED,
    OK,
    Ended,
    Fact,
    NodeFailure,
    Opened,
    StatusChange,
    TakenEdge,
    measure_fact,
)
from flowcraft_dagster.engine.inputs import resolve_input
from flowcraft_dagster.engine.json_codec import check_depth
from flowcraft_dagster.engine.outcome import Done, Failed, Outcome, Waiting
from flowcraft_dagster.engine.routing import Aftermath, route
from flowcraft_dagster.errors import SerializationError, SizeLimitExceeded
from flowcraft_dagster.ports.records import CANCELLING
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.services import LaneServices

LARGEST_FACT = 3
"""What one activation stores in all, as a multiple of the limit of one value."""

Writes = tuple[tuple[str, Stored | None], ...]


class ResultWriter:
    """Writes the facts of one run. Edges are chosen and transforms evaluated here, before the commit.

    Args:
        services: what lanes share.
        run: the run.
    """

    def __init__(self, services: LaneServices, run: OwnedRun) -> None:
        self._services = services
        self._run = run

    def write(self, activation: Activation, outcome: Outcome, started_at: float) -> Fact:
        """The fact for an outcome; one that is too large or too deep to be committed is a failure of its node."""
        if isinstance(outcome, Failed):
            return self.fail(activation, outcome.failure, started_at)
        error: SizeLimitExceeded | SerializationError
        try:
            _check_depths(activation, outcome)
            fact = (
                self.end(activation, outcome, started_at)
                if isinstance(outcome, Done)
                else self._open(activation, outcome, started_at)
            )
            size, limit = measure_fact(fact), self._max_bytes
            if size <= limit:
                return fact
            error = SizeLimitExceeded(what=f"everything that '{activation.key}' stores", size=size, limit=limit)
        except (SizeLimitExceeded, SerializationError) as refused:
            # The same would happen to every worker: the run must end, or they would repeat the node for ever.
            error = refused
        now = self._services.clock.now()
        failure = describe_failure(activation.node_id, activation.key, outcome.attempt, error, now)
        return self.fail(activation, failure, started_at)

    def _open(self, activation: Activation, outcome: Waiting, started_at: float) -> Opened:
        taken: tuple[TakenEdge, ...] = ()
        if outcome.kind == "batch-scatter":
            taken = self._route(activation, outcome.output, None, ())
        return Opened(
            key=activation.key,
            kind=outcome.kind,
            attempt=outcome.attempt,
            at=started_at,
            details=outcome.details,
            value=outcome.value,
            output=outcome.output,
            taken=taken,
        )

    def end(self, activation: Activation, done: Done, started_at: float) -> Ended:
        """An activation that succeeded."""
        taken = () if activation.item is not None else self._route(activation, done.output, done.action, done.writes)
        self._emit("node:finish", activation, {"action": done.action})
        return Ended(
            key=activation.key,
            status=OK,
            attempt=done.attempt,
            started_at=started_at,
            finished_at=self._services.clock.now(),
            output=done.output,
            action=done.action,
            writes=done.writes,
            taken=taken,
        )

    def fail(self, activation: Activation, failure: NodeFailure, started_at: float) -> Ended:
        """An activation that failed for good; its fallback, if it has one, takes over."""
        state = self._run.state
        fallback = None if failure.fatal else state.find_fallback(activation)
        if fallback is not None:
            failure = replace(failure, handled=True)
            self._emit("node:fallback", activation, {"fallback": fallback.node_id})
        self._emit("node:error", activation, {"error": failure.to_json()})
        return Ended(
            key=activation.key,
            status=FAILED,
            attempt=failure.attempt,
            started_at=started_at,
            finished_at=self._services.clock.now(),
            failure=failure,
            input=None if fallback is None else resolve_input(state, activation, state.take_snapshot(activation)),
        )

    def interrupt(self, keys: Iterable[str]) -> list[Fact]:
        """Activations that were stopped by a cancellation."""
        now = self._services.clock.now()
        return [Ended(key, INTERRUPTED, started_at=now, finished_at=now) for key in keys]

    def begin_cancelling(self) -> StatusChange:
        """From here on no activation starts."""
        return StatusChange(CANCELLING, self._services.clock.now(), self._run.header.seq + 1)

    @property
    def _max_bytes(self) -> int:
        return LARGEST_FACT * self._services.options.max_output_bytes

    def _route(
        self, activation: Activation, output: Stored | None, action: str | None, writes: Writes
    ) -> tuple[Any, ...]:
        plan = self._run.state.plan
        aftermath = Aftermath(self._run.state.take_snapshot(activation), activation.node_id, output, writes)
        return route(
            plan,
            activation,
            output,
            action,
            aftermath,
            lambda kind, payload: self._emit(kind, activation, payload),
            self._max_bytes,
        )

    def _emit(self, kind: str, activation: Activation, payload: Mapping[str, Any]) -> None:
        if self._services.listeners:
            header = self._run.header
            ids = {"runId": header.run_id, "blueprintId": header.blueprint_id, "nodeId": activation.node_id}
            self._services.emit(kind, {**ids, "activation": activation.key, **payload})


def _check_depths(activation: Activation, outcome: Done | Waiting) -> None:
    """Built-in nodes join values without looking into them, so a loop of them may nest without end."""
    values = [outcome.output, *(value for _, value in outcome.writes)] if isinstance(outcome, Done) else [outcome.value]
    for value in values:
        if value is not None:
            check_depth(value.data, f"what '{activation.key}' gives")
