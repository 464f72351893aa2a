"""Worker and client around ready-made clients of Kafka, Cassandra and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import adopt_clients

if TYPE_CHECKING:
    from flowcraft_dagster.runtime.worker import Worker

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


async def _await(working: asyncio.Task[None]) -> None:
    # An interrupted wait must not cancel the worker: close() lets it drain.
    await asyncio.shield(working)
