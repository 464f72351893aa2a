"""The client for sync code: scripts, the command line, Dagster."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.ports.records import RunHeader, RunQuery
from flowcraft_dagster.runtime.backend_portal import BackendPortal
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.result import OpenWait, RunResult

T = TypeVar("T")


class Client:
    """Starts and follows runs; see :class:`~flowcraft_dagster.runtime.client.AsyncClient` for what is raised.

    The backend is opened with the first call, and looked after again by the call that follows a failure.

    Args:
        client: does the work.
        portal: a way to its backend that others use too; one of its own when None.

    Example:
        >>> with app.client() as client:  # doctest: +SKIP
        ...     run_id = client.start("content-moderation", {"userId": "u1", "userPost": "hello"})
        ...     print(client.wait(run_id).status)
    """

    def __init__(self, client: AsyncClient, portal: BackendPortal | None = None) -> None:
        self.asynchronous = client
        self._portal = portal or BackendPortal(client.backend)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the client's event loop, with the backend open."""
        return self._portal.call(work)

    def start(
        self,
        blueprint_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run and return its id; after this returns the run is not lost."""
        return self.call(self.asynchronous.start(StartRequest(blueprint_id, context or {}, run_id, tags or {})))

    def start_many(self, requests: Sequence[StartRequest]) -> list[str]:
        """Start several runs."""
        return self.call(self.asynchronous.start_many(requests))

    def request(self, blueprint_id: str, context: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Ask Dagster to start a run, by the request queue, and return the id that the run will have."""
        return self.request_many([StartRequest(blueprint_id, context or {}, run_id)])[0]

    def request_many(self, requests: Sequence[StartRequest]) -> list[str]:
        """Ask Dagster to start several runs."""
        return self.call(self.asynchronous.request_many(requests))

    def status(self, run_id: str) -> RunHeader:
        """The run's header."""
        return self.call(self.asynchronous.status(run_id))

    def result(self, run_id: str) -> RunResult:
        """Everything about a run, ended or not."""
        return self.call(self.asynchronous.result(run_id))

    def wait(self, run_id: str, timeout: float = 60.0) -> RunResult:
        """Wait until a run has ended, ``timeout`` seconds at most."""
        return self.call(self.asynchronous.wait(run_id, timeout))

    def wait_for_pause(self, run_id: str, timeout: float = 60.0) -> RunHeader:
        """Wait until a run has ended or waits."""
        return self.call(self.asynchronous.wait_for_pause(run_id, timeout))

    def runs(self, query: RunQuery | None = None) -> tuple[RunHeader, ...]:
        """Runs that match, the latest first."""
        return self.call(self.asynchronous.runs(query or RunQuery()))

    def cancel(self, run_id: str, reason: str = "cancelled by request") -> RunHeader:
        """Ask a run to end; returns it as it was found. A run that is cancelled already is no error."""
        return self.call(self.asynchronous.cancel(run_id, reason))

    def resume(
        self,
        run_id: str,
        node: str,
        *,
        output: Any = UNDEFINED,
        action: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Answer a ``wait`` or ``webhook``; returns the key of the activation that was answered."""
        return self.call(self.asynchronous.resume(run_id, node, output=output, action=action, request_id=request_id))

    def retry(self, run_id: str, new_run_id: str | None = None) -> str:
        """Start a new run that goes on from what failed in an ended one; returns the new run's id."""
        return self.call(self.asynchronous.retry(run_id, new_run_id))

    def waiting(self, run_id: str) -> list[OpenWait]:
        """What a run and its child runs wait for."""
        return self.call(self.asynchronous.waiting(run_id))

    def close(self) -> None:
        """Let go of the backend."""
        self._portal.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
