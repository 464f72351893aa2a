"""A run as it is shown to people and programs, built from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.context import INPUT_PREFIX, OUTPUT_PREFIX
from flowcraft_dagster.engine.facts import Ended, NodeFailure, Opened, StatusChange
from flowcraft_dagster.ports.records import AWAITING, FINAL_STATUSES, RUNNING, StoredRun
from flowcraft_dagster.runtime.history import read_commits, rebuild_state


@dataclass(frozen=True, slots=True)
class OpenWait:
    """Something a run waits for.

    Attributes:
        run_id: the run; a child run's id for a wait inside a sub-flow.
        path: how to name it in an answer: ``node`` or ``parentNode/childNode``.
        node_id: the node.
        activation: its activation key, which names it without ambiguity.
        kind: ``wait``, ``webhook``, ``sleep``, ``retry`` or ``subflow``.
        since: seconds since 1970 UTC.
        details: for example ``eventName`` or ``wakeAt``.
    """

    run_id: str
    path: str
    node_id: str
    activation: str
    kind: str
    since: float
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "runId": self.run_id,
            "path": self.path,
            "node": self.node_id,
            "activation": self.activation,
            "kind": self.kind,
            "since": self.since,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class NodeTiming:
    """When an activation ran.

    Attributes:
        activation: its key.
        node_id: its node.
        status: ``ok``, ``failed``, ``interrupted``, ``incomplete`` or ``open``.
        attempt: the last attempt.
        started_at, finished_at: seconds since 1970 UTC; finished_at is None while open.
        action: what the node chose.
    """

    activation: str
    node_id: str
    status: str
    attempt: int
    started_at: float
    finished_at: float | None
    action: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "activation": self.activation,
            "node": self.node_id,
            "status": self.status,
            "attempt": self.attempt,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "action": self.action,
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything there is to say about a run.

    Attributes:
        run_id, blueprint_id: which run.
        status: running, awaiting, cancelling, cancelled, failed or completed.
        reason: why it failed or was cancelled.
        context: user keys and ``_outputs.<node>`` keys.
        outputs: output by node id; absent where undefined.
        errors: everything that failed, handled by a fallback or not.
        failed_nodes: ids of nodes that failed, sorted.
        skipped_nodes: nodes with a taken edge into them that never began, sorted.
        waiting: what it waits for now.
        timings: one entry an activation.
        taken_edges: places in the blueprint's ``edges`` of the edges that were followed.
        statuses: how the status moved, with times.
        started_at, updated_at, finished_at: seconds since 1970 UTC.
        tags: labels given at the start.
        retry_of: the failed run this one goes on from.
        child_runs: id of the run by the activation of a sub-flow; that of the last attempt.
        pending: activations that run, or wait for a worker to run them; items of batches are left out.
    """

    run_id: str
    blueprint_id: str
    status: str
    reason: str | None
    context: dict[str, Any]
    outputs: dict[str, Any]
    errors: tuple[NodeFailure, ...]
    failed_nodes: tuple[str, ...]
    skipped_nodes: tuple[str, ...]
    waiting: tuple[OpenWait, ...]
    timings: tuple[NodeTiming, ...]
    taken_edges: frozenset[int]
    statuses: tuple[tuple[str, float], ...]
    started_at: float
    updated_at: float
    finished_at: float | None
    tags: Mapping[str, str]
    retry_of: str | None = None
    child_runs: Mapping[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.status in FINAL_STATUSES

    def to_json(self) -> dict[str, Any]:
        """JSON form, the same for CLI and Dagster."""
        return {
            "runId": self.run_id,
            "blueprintId": self.blueprint_id,
            "status": self.status,
            "reason": self.reason,
            "context": self.context,
            "outputs": self.outputs,
            "errors": [error.to_json() for error in self.errors],
            "failedNodes": list(self.failed_nodes),
            "skippedNodes": list(self.skipped_nodes),
            "waiting": [wait.to_json() for wait in self.waiting],
            "pending": list(self.pending),
            "timings": [timing.to_json() for timing in self.timings],
            "statuses": [{"status": status, "at": at} for status, at in self.statuses],
            "startedAt": self.started_at,
            "updatedAt": self.updated_at,
            "finishedAt": self.finished_at,
            "tags": dict(self.tags),
            "retryOf": self.retry_of,
            "childRuns": dict(self.child_runs),
        }


def build_result(stored: StoredRun, blueprint: Blueprint) -> RunResult:
    """Build the result of a run from what is stored of it."""
    state = rebuild_state(stored, blueprint)
    header = stored.header
    keys = [key for key in state.context.keys(state.version) if not key.startswith(INPUT_PREFIX)]
    context = {key: state.context.read(key, state.version) for key in keys}
    values = {key: stored_value.copy() for key, stored_value in context.items() if stored_value is not None}
    timings: dict[str, NodeTiming] = {}
    statuses: list[tuple[str, float]] = [("running", header.started_at)]
    edges: set[int] = set()
    children: dict[str, str] = {}
    for facts in read_commits(stored):
        for fact in facts:
            if isinstance(fact, StatusChange):
                statuses.append((fact.status, fact.at))
            elif isinstance(fact, (Opened, Ended)):
                edges.update(edge.index for edge in fact.taken)
                if isinstance(fact, Opened) and "childRunId" in fact.details:
                    children[fact.key] = fact.details["childRunId"]
                activation = state.find_activation(fact.key)
                timings[fact.key] = _time(fact, fact.key if activation is None else activation.node_id)
    if header.finished_at is not None:
        statuses.append((header.status, header.finished_at))
    return RunResult(
        run_id=header.run_id,
        blueprint_id=header.blueprint_id,
        status=header.status,
        reason=header.reason,
        context=values,
        outputs={
            node.id: values[OUTPUT_PREFIX + node.id] for node in blueprint.nodes if OUTPUT_PREFIX + node.id in values
        },
        errors=tuple(state.failures),
        failed_nodes=tuple(state.failed_nodes),
        skipped_nodes=tuple(state.skipped_nodes) if header.is_final else (),
        waiting=() if header.is_final else tuple(find_open_waits(stored, blueprint)),
        pending=tuple(
            activation.key
            for activation in state.pending.values()
            # From a cancellation on, nothing begins any more.
            if activation.item is None and header.status in (RUNNING, AWAITING)
        ),
        timings=tuple(timings.values()),
        taken_edges=frozenset(edges),
        statuses=tuple(statuses),
        started_at=header.started_at,
        updated_at=header.updated_at,
        finished_at=header.finished_at,
        tags={key: value for key, value in header.tags.items() if not key.startswith("flowcraft.")},
        retry_of=header.retry_of,
        child_runs=children,
    )


def find_open_waits(stored: StoredRun, blueprint: Blueprint) -> list[OpenWait]:
    """What a run waits for, as of its rows; waits that are answered but not yet taken up are left out."""
    state = rebuild_state(stored, blueprint)
    answered = {signal.key[len("answer/") :] for signal in stored.signals if signal.key.startswith("answer/")}
    waits = []
    for opened in state.opened.values():
        activation = state.find_activation(opened.key)
        if activation is not None and opened.key not in answered and opened.kind != "batch-scatter":
            waits.append(
                OpenWait(
                    run_id=stored.header.run_id,
                    path=activation.node_id,
                    node_id=activation.node_id,
                    activation=opened.key,
                    kind=opened.kind,
                    since=opened.at,
                    details=opened.details,
                )
            )
    return waits


def _time(fact: Opened | Ended, node_id: str) -> NodeTiming:
    if isinstance(fact, Opened):
        return NodeTiming(fact.key, node_id, "open", fact.attempt, fact.at, None)
    return NodeTiming(fact.key, node_id, fact.status, fact.attempt, fact.started_at, fact.finished_at, fact.action)

