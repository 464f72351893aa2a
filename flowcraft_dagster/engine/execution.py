"""One activation to run, and what executions share within a process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcraft_dagster.blueprint.model import NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.node import ContextReader, Middleware
from flowcraft_dagster.engine.registry import Implementation
from flowcraft_dagster.engine.routing import Report
from flowcraft_dagster.engine.threads import SyncThreads


class Time(Protocol):
    """The part of the clock that executing needs."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """What executions share within a process.

    Attributes:
        threads: where sync functions run.
        time: the clock.
        dependencies: injected into every node context.
        middleware: outermost first.
        max_output_bytes: limit of one output or context value.
    """

    threads: SyncThreads
    time: Time
    dependencies: Mapping[str, Any] = field(repr=False)
    middleware: Sequence[Middleware]
    max_output_bytes: int


class Interruption:
    """Whether the runtime has asked an execution to end.

    A ``CancelledError`` does not say where it comes from: a node may raise one, or cancel the very task it runs in.
    Whoever stops an execution does it here, so that everything else is the node's own failure.

    Attributes:
        is_requested: whether :meth:`stop` was called.
    """

    __slots__ = ("is_requested",)

    def __init__(self) -> None:
        self.is_requested = False

    def stop(self, task: asyncio.Task[Any]) -> None:
        """Cancel the task that runs the execution."""
        self.is_requested = True
        task.cancel()


@dataclass(frozen=True, slots=True)
class Execution:
    """One activation to run.

    Attributes:
        run_id, blueprint_id: the run.
        node: its node, or for a batch item the worker's.
        activation: the execution slot.
        implementation: what to call.
        input: the resolved input; None where undefined.
        snapshot: the context as of now.
        first_attempt: above 1 after a delayed retry.
        report: takes events.
        interruption: by which it is stopped.
    """

    run_id: str
    blueprint_id: str
    node: NodeSpec
    activation: Activation
    implementation: Implementation
    input: Stored | None
    snapshot: ContextReader
    first_attempt: int
    report: Report
    interruption: Interruption = field(default_factory=Interruption)
