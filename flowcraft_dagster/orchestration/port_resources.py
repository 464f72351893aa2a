"""Resources for one part of the backend each: the job queue, the state store, the coordination store.

Which servers they are is said once, by the backend that they are given, so that they are the same on the embedded
backend and on Kafka, Cassandra and Redis. All of them share the open connection of their process.
"""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar, Final

import dagster as dg

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.orchestration.connection import BackendConnection, connect_backend, find_backend
from flowcraft_dagster.orchestration.resources import FlowcraftBackendResource
from flowcraft_dagster.ports.backend import HealthReport
from flowcraft_dagster.ports.records import DeadLetter, Page, RunHeader, RunQuery

RENEWALS: Final = 4
"""How often a lease is renewed in the time for which it is taken."""


class _PortResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A part of the backend."""

    servers: ClassVar[frozenset[str]] = frozenset()
    """Names of the health reports that are about this part."""

    backend: dg.ResourceDependency[FlowcraftBackendResource]

    def connect(self, seconds: float | None = None) -> BackendConnection:
        """The connection of this process; opened when it is not.

        Args:
            seconds: how long to wait for that; None for as long as it takes.

        Raises:
            SettingsError: the configuration cannot be used.
            InfrastructureError: a server is away; the next call tries again.
        """
        return connect_backend(self.backend.list_variables(), seconds)

    def check_health(self) -> list[HealthReport]:
        """A report for each server of this part; never raises, and one that is away is a report that is not ok."""
        return check_together([self])[0]


class FlowcraftQueueResource(_PortResource):
    """The job queue with its dead letters, and the queue of requests to start runs."""

    servers: ClassVar[frozenset[str]] = frozenset({"kafka", "sqlite", "memory"})

    def measure_lag(self) -> int:
        """How many messages wait for a worker. Raises InfrastructureError."""
        connection = self.connect()
        return connection.call(connection.backend.jobs.measure_lag())

    def list_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Dead letters, the newest first. Raises InfrastructureError."""
        connection = self.connect()
        return connection.call(connection.backend.dead_letters.list_letters(limit))

    def send_requests(self, values: Sequence[bytes]) -> None:
        """Ask for runs: the run-request sensor hands the requests over. Raises InfrastructureError.

        Args:
            values: requests, JSON: ``{"blueprintId", "context", "runId"?}``.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def ask_for_runs(flowcraft_queue: FlowcraftQueueResource) -> None:
            ...     flowcraft_queue.send_requests([b'{"blueprintId": "hello", "context": {"name": "Ann"}}'])
        """
        connection = self.connect()
        connection.call(connection.backend.requests.send_requests(values))


class FlowcraftStoreResource(_PortResource):
    """The state store: what is known of runs. Reading it needs no right to produce."""

    servers: ClassVar[frozenset[str]] = frozenset({"cassandra", "sqlite", "memory"})

    def list_runs(self, query: RunQuery | None = None) -> tuple[RunHeader, ...]:
        """Runs that match, the latest first. Raises InfrastructureError.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def count_failures(flowcraft_store: FlowcraftStoreResource) -> int:
            ...     return len(flowcraft_store.list_runs(RunQuery(statuses=frozenset({"failed"}))))
        """
        connection = self.connect()
        return connection.call(connection.backend.index.list_runs(query or RunQuery()))

    def scan_finished_runs(self, position: str | None, until: float, limit: int) -> Page:
        """A page of runs in the order in which they ended. Raises InfrastructureError.

        Args:
            position: the cursor of the page before; None for the beginning.
            until: runs that ended at or after this are left out, seconds since 1970 UTC.
            limit: how many at most.
        """
        connection = self.connect()
        return connection.call(connection.backend.index.scan_finished_runs(position, until, limit))

    def read_run(self, run_id: str) -> RunHeader | None:
        """What is known of a run; None where there is none. Raises InfrastructureError."""
        connection = self.connect()
        return connection.call(connection.backend.state.read_header(run_id))


class FlowcraftCoordinationResource(_PortResource):
    """The coordination store: leases that save double work. Losing all of it loses no run."""

    servers: ClassVar[frozenset[str]] = frozenset({"redis", "sqlite", "memory"})

    @contextmanager
    def hold_lease(self, name: str, seconds: float = 60.0) -> Iterator[bool]:
        """Hold a lease while the body runs, or learn that somebody else holds it.

        It is renewed for as long as the body runs, and ends by itself soon after this process was killed.

        Args:
            name: what is done by one at a time.
            seconds: for how long it outlives its holder.

        Yields:
            Whether it is held here. When the coordination store is away it is: leases save work, nothing depends on
            them.

        Raises:
            InfrastructureError: the store is away.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def tidy_up(flowcraft_coordination: FlowcraftCoordinationResource) -> None:
            ...     with flowcraft_coordination.hold_lease("tidy-up") as is_mine:
            ...         if is_mine:
            ...             ...
        """
        connection = self.connect()
        store, owner = connection.backend.coordination, uuid.uuid4().hex
        if not connection.call(store.acquire_lease(name, owner, seconds)):
            yield False
            return
        is_done = threading.Event()

        def renew() -> None:
            while not is_done.wait(seconds / RENEWALS):
                # A server that is away is no reason to stop: it may be back in time.
                with suppress(InfrastructureError):
                    connection.call(store.acquire_lease(name, owner, seconds))

        renewing = threading.Thread(target=renew, name=f"flowcraft-lease-{name}", daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            is_done.set()
            renewing.join()
            # It ends by itself; the body's own error must not be hidden by this one.
            with suppress(InfrastructureError):
                connection.call(store.release_lease(name, owner))


def check_together(parts: Sequence[_PortResource]) -> list[list[HealthReport]]:
    """The health of several parts, as each of them says it by itself; servers they share are asked once."""
    known: dict[int, list[HealthReport]] = {}
    found: list[list[HealthReport]] = []
    for part in parts:
        try:
            connection = find_backend(part.backend.list_variables())
        except FlowcraftError as error:
            found.append([HealthReport("settings", False, f"{error} {error.hint}".strip())])
            continue
        key = id(connection.portal)
        if key not in known:
            known[key] = _examine(connection)
        found.append([report for report in known[key] if report.name in part.servers])
    return found


def _examine(connection: BackendConnection) -> list[HealthReport]:
    trouble: FlowcraftError | None = None
    try:
        connection.portal.open()
    except FlowcraftError as error:
        trouble = error
    reports = connection.portal.call_as_it_is(connection.backend.check_health())
    if trouble is not None and len(reports) == 1:
        # The file says only that it is not open; this says why.
        return [HealthReport(reports[0].name, False, f"{trouble} {trouble.hint}".strip())]
    return reports
