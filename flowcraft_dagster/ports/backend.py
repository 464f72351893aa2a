"""All ports of one backend, opened and closed together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flowcraft_dagster.ports.coordination import CoordinationStore
from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.ports.queue import DeadLetters, JobQueue, RequestQueue
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.ports.workers import WorkerRegistry


@dataclass(frozen=True, slots=True)
class HealthReport:
    """State of one server or folder.

    Attributes:
        name: for example ``cassandra``.
        ok: whether work can go on.
        detail: one line without secrets: versions and figures, or what is wrong and what to do.
        warning: what may go wrong later, in one line; None when there is nothing to warn of.
    """

    name: str
    ok: bool
    detail: str
    warning: str | None = None


class Backend(Protocol):
    """One way of storing and queueing. Nothing is connected before ``open``."""

    @property
    def name(self) -> str:
        """How the settings name it."""
        ...

    @property
    def state(self) -> StateStore:
        """Runs and their facts."""
        ...

    @property
    def index(self) -> RunIndex:
        """Listings, timers, deaths."""
        ...

    @property
    def workers(self) -> WorkerRegistry:
        """Heartbeats."""
        ...

    @property
    def jobs(self) -> JobQueue:
        """Jobs and wakes."""
        ...

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages nobody could handle."""
        ...

    @property
    def requests(self) -> RequestQueue:
        """Requests to start runs."""
        ...

    @property
    def coordination(self) -> CoordinationStore:
        """Hints."""
        ...

    async def open(self) -> None:
        """Connect. Raises InfrastructureError or SchemaMismatch."""
        ...

    async def close(self) -> None:
        """Let go of everything; harmless when not open."""
        ...

    async def create_schema(self) -> list[str]:
        """Make folders, tables and topics that are missing; returns what was made. Twice is no harm."""
        ...

    async def delete_schema(self) -> None:
        """Remove what ``create_schema`` makes, with everything in it: for tests and measurements."""
        ...

    async def check_health(self) -> list[HealthReport]:
        """One report for each server or folder; never raises."""
        ...
