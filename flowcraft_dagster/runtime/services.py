"""What lanes share within one worker process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.execution import Execution, Workshop
from flowcraft_dagster.engine.node import Event, EventListener
from flowcraft_dagster.engine.outcome import Outcome
from flowcraft_dagster.engine.registry import NodeRegistry
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import Delivery
from flowcraft_dagster.runtime.availability import Availability
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.commit import Committer
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.parking import ParkedRuns

Isolate = Callable[[Execution], Awaitable[Outcome]]
"""Runs an execution alone in a process of its own; see ``runtime.isolation``."""

COUNTERS = {
    "messages": "messages that were taken from the queue",
    "claims": "runs that were taken over, with their facts read",
    "nodes": "nodes with code of yours that were executed; the attempts of one execution count once",
    "commits": "commits that were applied",
    "ownership_lost": "runs that another worker had taken over meanwhile",
    "dead_letters": "messages that nobody could handle",
    "stale_timers": "messages of timers whose run is gone",
    "external_starts": "runs that another program had announced",
    "listener_errors": "errors of event listeners",
    "internal_errors": "errors of this package itself",
}
"""What a worker counts. All of them are there from the start, at 0: who watches a rate must see the first one, too."""


@dataclass(frozen=True)
class LaneServices:
    """Everything a lane works with.

    Attributes:
        backend: the ports.
        options: limits and intervals.
        clock, dice: injected time and randomness.
        patience: repeats calls to servers that are away.
        committer: steps 3 and 4 of the commit protocol.
        workshop: what executions share.
        registry: node implementations.
        blueprints: known here, by id.
        listeners: take events.
        slots: limits how many nodes run at a time.
        worker_id: this worker's incarnation id.
        settle: says that deliveries are done with.
        note_rest: is told of each lane that begins a rest (1) and that ends one (-1).
        isolate: runs a suspect alone in a process of its own; None where that is impossible.
        counters: figures of this process.
        availability: when servers were away.
        parked: runs that wait for a sub-flow.
        started_at: when this worker began, seconds since 1970 UTC; an older run may have been begun by another one.
    """

    backend: Backend
    options: RuntimeOptions
    clock: Clock
    dice: random.Random
    patience: Patience
    committer: Committer
    workshop: Workshop
    registry: NodeRegistry
    blueprints: Mapping[str, Blueprint]
    listeners: Sequence[EventListener]
    slots: asyncio.Semaphore
    worker_id: str
    settle: Callable[[Sequence[Delivery]], None]
    note_rest: Callable[[int], None]
    isolate: Isolate | None
    counters: dict[str, int]
    started_at: float
    availability: Availability
    parked: ParkedRuns

    def emit(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Hand an event to every listener; one that raises is counted and harms nobody."""
        if self.listeners:
            event = Event(kind, payload)
            for listener in self.listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - a listener belongs to the user; runs must not suffer from it
                    self.count("listener_errors")

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a figure of this process."""
        self.counters[name] = self.counters.get(name, 0) + amount
