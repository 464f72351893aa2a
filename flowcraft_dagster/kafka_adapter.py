"""The adapter under the names of Flowcraft's documents: worker, client and reconciler around ready-made clients.

Thin: everything is done by the same worker, client, reconciler and stores as anywhere else. The adapter connects to the
servers of the given clients, with their rights, over connections of its own; the clients stay the program's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import InfrastructureError, RunError, RunNotFound, SettingsError
from flowcraft_dagster.ports.records import COMPLETED
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.reconciler import Reconciler, ReconciliationStats
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import adopt_clients

if TYPE_CHECKING:
    from flowcraft_dagster.runtime.worker import Worker

POLL_SECONDS = 0.25
TIMED_OUT = "timeout"
_APP_PARTS = frozenset({"registry", "blueprints", "dependencies", "middleware", "listeners", "options"})


@dataclass(frozen=True)
class Kafka:
    """Where Kafka is; confluent-kafka has no client object that stands for it.

    Attributes:
        brokers: ``host:port`` of a few brokers.
        client_id: how this program shows in the broker's logs and quotas.
        options: any further librdkafka option, for example ``{"security.protocol": "SASL_SSL", ...}``.
    """

    brokers: list[str] | tuple[str, ...]
    client_id: str = "flowcraft"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def as_options(self) -> dict[str, Any]:
        """The same as librdkafka options."""
        return {**self.options, "bootstrap.servers": ",".join(self.brokers), "client.id": self.client_id}


class RedisCoordinationStore:
    """Coordination on the Redis of a ready-made client.

    Args:
        redis: a client of redis-py, sync or async.
    """

    def __init__(self, redis: Any) -> None:
        self.redis = redis


class KafkaAdapter:
    """Worker and client on Kafka, Cassandra and Redis. Use as a context manager, or call :meth:`close`.

    Args:
        kafka: a :class:`Kafka`, a mapping of librdkafka options, or ``KafkaSettings``.
        cassandra_client: a ``Cluster`` or ``Session`` of cassandra-driver.
        coordination_store: a :class:`RedisCoordinationStore`.
        runtime_options: the app, or a mapping with ``registry`` and ``blueprints`` and, where wanted,
            ``dependencies``, ``middleware``, ``listeners`` and ``options`` (:class:`RuntimeOptions`).
        topic_name, group_id: jobs and the workers that share them.
        keyspace, context_table_name, status_table_name: where our tables are; :meth:`create_schema` makes them.

    Attributes:
        client: starts and follows runs over the same connections.

    Raises:
        SettingsError: something about a client or a name cannot be used.
    """

    def __init__(
        self,
        *,
        kafka: Any,
        cassandra_client: Any,
        coordination_store: RedisCoordinationStore,
        runtime_options: Flowcraft | Mapping[str, Any],
        topic_name: str = "flowcraft-jobs",
        group_id: str = "flowcraft-worker-group",
        keyspace: str = "flowcraft_ks",
        context_table_name: str = "contexts",
        status_table_name: str = "statuses",
    ) -> None:
        self.app, self._options = _read_app(runtime_options)
        self.keyspace = keyspace
        self.status_table_name = status_table_name
        self.backend = adopt_clients(
            kafka.as_options() if isinstance(kafka, Kafka) else kafka,
            cassandra_client,
            coordination_store.redis,
            topic_name=topic_name,
            group_id=group_id,
            keyspace=keyspace,
            context_table_name=context_table_name,
            status_table_name=status_table_name,
        )
        self._settings = Settings(backend="kafka", options=self._options)
        self.client: Client = self.app.client(self._settings, backend=self.backend)
        self._worker: Worker | None = None
        self._working: asyncio.Task[None] | None = None

    def create_schema(self) -> list[str]:
        """Make tables and topics that are missing; twice is no harm.

        Returns:
            What was made.

        Raises:
            SchemaMismatch: a table of another layout is in the way, such as that of Flowcraft's documents.
            InfrastructureError: a server is away.
        """
        return self.client.call(self.backend.create_schema())

    def start(self, slot: str | None = None) -> None:
        """Start a worker in the background; returns when it takes jobs. A second call does nothing.

        Args:
            slot: stable name of the worker's place; a restarted worker keeps it.

        Raises:
            InfrastructureError: a server is away.
        """
        if self._working is None:
            self.client.call(self._start(slot))

    def wait(self) -> None:
        """Return when the worker has ended; meant for a program that does nothing else.

        Raises:
            InfrastructureError: the worker could not go on. Nothing is lost; start another one.
        """
        if self._working is not None:
            self.client.call(_await(self._working))

    def close(self) -> None:
        """Let running nodes end, stop the worker, and disconnect. The given clients stay open."""
        try:
            if self._worker is not None and self._working is not None:
                self.client.call(self._stop(self._worker, self._working))
        finally:
            self._worker = self._working = None
            self.client.close()

    def __enter__(self) -> KafkaAdapter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _start(self, slot: str | None) -> None:
        self._worker = worker = self.app.worker(self._settings, backend=self.backend, slot=slot)
        self._working = asyncio.ensure_future(worker.run())
        ready = asyncio.ensure_future(worker.ready.wait())
        await asyncio.wait({self._working, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._working.done():
            working, self._working = self._working, None
            working.result()

    @staticmethod
    async def _stop(worker: Worker, working: asyncio.Task[None]) -> None:
        worker.stop()
        await asyncio.wait({working})


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


class KafkaReconciler:
    """Finds runs that stand still and wakes them; made by :func:`create_kafka_reconciler`."""

    def __init__(self, adapter: KafkaAdapter, stalled_threshold_seconds: float) -> None:
        self._adapter = adapter
        self._reconciler = Reconciler(adapter.backend, SystemClock(), stalled_after=stalled_threshold_seconds)

    def run(self) -> ReconciliationStats:
        """Make one pass. Raises InfrastructureError."""
        return self._adapter.client.call(self._reconciler.run())


def create_kafka_reconciler(
    adapter: KafkaAdapter,
    cassandra_client: Any = None,
    keyspace: str | None = None,
    status_table_name: str | None = None,
    stalled_threshold_seconds: float = 300.0,
) -> KafkaReconciler:
    """A reconciler over an adapter's servers; it needs no worker in this process.

    Args:
        adapter: says where everything is.
        cassandra_client: not needed; the adapter has its own connection.
        keyspace: the adapter's, where given.
        status_table_name: the adapter's, where given.
        stalled_threshold_seconds: how long a run must have stood still.

    Raises:
        SettingsError: a name is not the adapter's.
    """
    for name, given in (("keyspace", keyspace), ("status_table_name", status_table_name)):
        if given not in (None, getattr(adapter, name)):
            raise SettingsError(f"'{given}' is not the adapter's '{getattr(adapter, name)}'", name=name)
    return KafkaReconciler(adapter, stalled_threshold_seconds)


def _read_app(given: Flowcraft | Mapping[str, Any]) -> tuple[Flowcraft, RuntimeOptions]:
    if isinstance(given, Flowcraft):
        return given, RuntimeOptions()
    unknown = sorted(given.keys() - _APP_PARTS)
    if unknown:
        raise SettingsError(f"'{unknown[0]}' is none of {', '.join(sorted(_APP_PARTS))}", name="runtime_options")
    blueprints = given.get("blueprints", ())
    app = Flowcraft(
        # By id, as the documents have them; a single blueprint is a mapping, too.
        list(blueprints.values()) if isinstance(blueprints, Mapping) and "nodes" not in blueprints else blueprints,
        given.get("registry"),
        dependencies=given.get("dependencies"),
        middleware=given.get("middleware", ()),
        listeners=given.get("listeners", ()),
    )
    return app, given.get("options") or RuntimeOptions()


def _open_reader(cassandra_client: Any, **names: str) -> Client:
    """A client that reads runs and needs neither Kafka nor Redis."""
    backend = adopt_clients({}, cassandra_client, None, **names)
    return Client(AsyncClient(backend, {}, RuntimeOptions(), SystemClock(), random.SystemRandom()))


async def _await(working: asyncio.Task[None]) -> None:
    # An interrupted wait must not cancel the worker: close() lets it drain.
    await asyncio.shield(working)
