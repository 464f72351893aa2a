"""Runs as Cassandra alone shows them: a run's context, and waiting for its end."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import InfrastructureError, RunError, RunNotFound
from flowcraft_dagster.ports.records import COMPLETED
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.wiring import adopt_clients

POLL_SECONDS = 0.25
TIMED_OUT = "timeout"


class CassandraContext:
    """A run's context as it is committed now. Read only: a context is written by the commits of its run's nodes.

    Args:
        run_id: the run.
        cassandra_client: a ``Cluster`` or ``Session`` of cassandra-driver.
        keyspace, table_name: where the run's facts are.
        status_table_name: where statuses are.
    """

    def __init__(
        self,
        run_id: str,
        cassandra_client: Any,
        keyspace: str = "flowcraft_ks",
        table_name: str = "contexts",
        *,
        status_table_name: str = "statuses",
    ) -> None:
        names = {"keyspace": keyspace, "context_table_name": table_name, "status_table_name": status_table_name}
        self.run_id = run_id
        self._client = _open_reader(cassandra_client, **names)

    def get(self, key: str) -> Any:
        """The value under ``key``; None when there is none. Raises RunNotFound."""
        return self.to_json().get(key)

    def has(self, key: str) -> bool:
        """Whether ``key`` has a value. Raises RunNotFound."""
        return key in self.to_json()

    def to_json(self) -> dict[str, Any]:
        """All keys, read afresh. Raises RunNotFound."""
        return self._client.result(self.run_id).context

    def set(self, key: str, value: Any) -> None:
        """Refused: see the class."""
        self._refuse(key, value)

    def delete(self, key: str) -> None:
        """Refused: see the class."""
        self._refuse(key, UNDEFINED)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def __enter__(self) -> CassandraContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _refuse(self, key: str, value: Any) -> None:
        what = "removed" if value is UNDEFINED else "written"
        reason = f"context key '{key}' cannot be {what} from outside; only the run's nodes write, with their commits"
        raise RunError(reason, run_id=self.run_id)


@dataclass(frozen=True)
class WorkflowOutcome:
    """How waiting for a run ended.

    Attributes:
        status: ``completed``, ``failed``, ``cancelled``, or ``timeout`` when the run goes on.
        payload: the result of a completed run.
        reason: why it failed, was cancelled, or is not waited for any more.
    """

    status: str
    payload: RunResult | None = None
    reason: str | None = None


def wait_for_workflow(
    cassandra_client: Any,
    keyspace: str,
    table_name: str,
    run_id: str,
    timeout_ms: float,
    *,
    context_table_name: str = "contexts",
) -> WorkflowOutcome:
    """Wait until a run has ended, by asking Cassandra alone. A run that is not known yet is waited for, too.

    Args:
        cassandra_client: a ``Cluster`` or ``Session`` of cassandra-driver.
        keyspace: of both tables.
        table_name: where statuses are.
        run_id: the run.
        timeout_ms: milliseconds.
        context_table_name: where facts are.
    """
    names = {"keyspace": keyspace, "status_table_name": table_name, "context_table_name": context_table_name}
    until, trouble = time.monotonic() + timeout_ms / 1000, "it is not known"
    client = _open_reader(cassandra_client, **names)
    try:
        while True:
            try:
                header = client.status(run_id)
                trouble = f"it is {header.status}"
                if header.is_final:
                    payload = client.result(run_id) if header.status == COMPLETED else None
                    return WorkflowOutcome(header.status, payload, header.reason)
            except (RunNotFound, InfrastructureError) as error:
                trouble = str(error)
            left = until - time.monotonic()
            if left <= 0:
                return WorkflowOutcome(TIMED_OUT, None, f"no end within {timeout_ms:g} ms: {trouble}")
            time.sleep(min(POLL_SECONDS, left))
    finally:
        client.close()


def _open_reader(cassandra_client: Any, **names: str) -> Client:
    """A client that reads runs and needs neither Kafka nor Redis."""
    backend = adopt_clients({}, cassandra_client, None, **names)
    return Client(AsyncClient(backend, {}, RuntimeOptions(), SystemClock(), random.SystemRandom()))
