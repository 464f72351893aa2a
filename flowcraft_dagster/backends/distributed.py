"""Kafka, Cassandra and Redis as one backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from flowcraft_dagster.backends.access import require_files
from flowcraft_dagster.backends.cassandra.buckets import BucketDirectory
from flowcraft_dagster.backends.cassandra.external import CassandraExternalStarts
from flowcraft_dagster.backends.cassandra.index import CassandraRunIndex
from flowcraft_dagster.backends.cassandra.listings import RunListings
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.cassandra.state import CassandraStateStore
from flowcraft_dagster.backends.cassandra.workers import CassandraWorkerRegistry
from flowcraft_dagster.backends.copies import are_remote, count_copies, warn_of_keyspace, warn_of_topics
from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.letters import KafkaDeadLetters
from flowcraft_dagster.backends.kafka.producer import KafkaProducer
from flowcraft_dagster.backends.kafka.queue import KafkaJobQueue
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.requests import KafkaRequestQueue
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.backend import HealthReport
from flowcraft_dagster.ports.clock import Clock


class KafkaBackend:
    """A ``Backend`` on real servers. Used from one asyncio loop.

    ``open`` connects to Cassandra; Kafka and Redis are connected when they are first needed, so a client that only
    reads runs needs neither.

    Args:
        kafka: the job queue.
        cassandra: the state store.
        redis: the coordination store.
        now: wall clock, seconds since 1970 UTC.
        cassandra_access: options of the driver that replace what the settings say of reaching and entering the cluster.

    Example:
        >>> backend = KafkaBackend()  # every server on this machine, nothing connected yet
        >>> backend.name
        'kafka'
    """

    def __init__(
        self,
        kafka: KafkaSettings | None = None,
        cassandra: CassandraSettings | None = None,
        redis: RedisSettings | None = None,
        now: Callable[[], float] = time.time,
        *,
        cassandra_access: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = "kafka"
        self._kafka = kafka or KafkaSettings()
        self._redis = redis or RedisSettings()
        self._cassandra_access = cassandra_access
        self._session = CassandraSession(cassandra or CassandraSettings(), access=cassandra_access)
        self.external_starts = CassandraExternalStarts(self._session)
        self._admin = KafkaAdmin(self._kafka)
        self._producer = KafkaProducer(self._kafka)
        self._reader = KafkaReader(self._kafka)
        directory = BucketDirectory(self._session)
        listings = RunListings(self._session, directory, now)
        self.state = CassandraStateStore(self._session, listings)
        self.index = CassandraRunIndex(self._session, directory, listings, self.state, now)
        self.workers = CassandraWorkerRegistry(self._session)
        self.jobs = KafkaJobQueue(self._kafka, self._producer, self._admin)
        self.dead_letters = KafkaDeadLetters(self._kafka, self._producer, self._admin, self._reader)
        self.requests = KafkaRequestQueue(self._kafka, self._producer, self._admin, self._reader)
        self.coordination = RedisCoordination(self._redis, self._has_ended)

    @classmethod
    def from_env(cls, environment: Mapping[str, str], clock: Clock | None = None) -> KafkaBackend:
        """A backend from ``KAFKA_...``, ``CASSANDRA_...`` and ``REDIS_...`` variables; nothing is connected yet.

        Every field of ``KafkaSettings``, ``CassandraSettings`` and ``RedisSettings`` is a variable, for example
        ``KAFKA_BROKERS``, ``CASSANDRA_CONTACT_POINTS``, ``CASSANDRA_DATACENTER`` and ``REDIS_URL``.

        Raises:
            SettingsError: a value cannot be used; names the variable.
        """
        return cls(
            read_settings(KafkaSettings, "KAFKA", environment),
            read_settings(CassandraSettings, "CASSANDRA", environment),
            read_settings(RedisSettings, "REDIS", environment),
            time.time if clock is None else clock.now,
        )

    async def open(self) -> None:
        """See ``Backend.open``; missing tables are no error yet, so that ``create_schema`` can follow.

        Raises:
            StoreUnavailable: Cassandra does not answer.
            SchemaMismatch: the keyspace has tables of another layout.
            SettingsError: certificates or bundle cannot be used.
        """
        require_files("REDIS", self._redis)
        await self._session.open()
        try:
            await self._session.layout.check()
        except FlowcraftError:
            await self._session.close()
            raise

    async def close(self) -> None:
        """See ``Backend.close``."""
        await self.coordination.close()
        await self._producer.close()
        await self._reader.close()
        await self._admin.close()
        await self._session.close()

    async def create_schema(self) -> list[str]:
        """See ``Backend.create_schema``.

        Raises:
            StoreUnavailable, QueueUnavailable: a server does not answer, or refuses.
            SchemaMismatch: a table of another layout is in the way; nothing was made.
        """
        was_open = self._session.is_open
        await self._session.open()
        try:
            tables = await self._session.layout.create()
        finally:
            if not was_open:
                await self._session.close()
        return [*tables, *await self._admin.create_topics()]

    async def delete_schema(self) -> None:
        """See ``Backend.delete_schema``. Keys in Redis go by themselves, the group with its offsets.

        Raises:
            StoreUnavailable, QueueUnavailable: a server does not answer, or refuses.
        """
        await self._session.layout.delete()
        self._session.forget_statements()
        await self._admin.delete_topics()

    async def check_health(self) -> list[HealthReport]:
        """See ``Backend.check_health``."""
        return list(await asyncio.gather(self._check_kafka(), self._check_cassandra(), self._check_redis()))

    async def _has_ended(self, run_id: str) -> bool:
        header = await self.index.read_published(run_id)
        return header is not None and header.is_final

    async def _check_kafka(self) -> HealthReport:
        try:
            cluster = await self._admin.describe_cluster()
            details = [f"{cluster} at {self._kafka.describe()}"]
            copies: list[tuple[str, int]] = []
            for topic in (self._kafka.jobs_topic, self._kafka.letters_topic, self._kafka.requests_topic):
                facts = await self._admin.describe_topic(topic)
                if facts is None:
                    detail = f"{cluster}; topic {topic} does not exist: make it with 'flowcraft-dagster init'"
                    return HealthReport("kafka", False, detail)
                copies.append((topic, facts.replication))
                details.append(f"{topic}: {len(facts.partitions)} partition(s) x {facts.replication}")
                if topic == self._kafka.jobs_topic and len(facts.partitions) == 1:
                    details.append("one partition serves one worker; for more: kafka-topics.sh --alter --partitions 12")
            details.append(f"lag {await self.jobs.measure_lag()}")
        except FlowcraftError as error:
            return HealthReport("kafka", False, f"{self._kafka.describe()}: {error}. {error.hint}")
        hosts = [broker.rpartition(":")[0] for broker in self._kafka.brokers]
        return HealthReport("kafka", True, "; ".join(details), warn_of_topics(copies) if are_remote(hosts) else None)

    async def _check_cassandra(self) -> HealthReport:
        # One of its own where none is open: whoever opens the backend in the meantime must not lose his.
        own = None if self._session.is_open else CassandraSession(self._session.settings, access=self._cassandra_access)
        session = own or self._session
        try:
            await session.open()
            missing = await session.layout.check()
            server = await session.describe_server()
            warning = await self._look_at_copies(session)
        except FlowcraftError as error:
            return HealthReport("cassandra", False, f"{error}. {error.hint}")
        finally:
            if own is not None:
                await own.close()
        place = self._session.settings.describe()
        if missing:
            names = ", ".join(table.name for table in missing)
            detail = f"{server} at {place}; missing tables: {names}. Make them with 'flowcraft-dagster init'"
            return HealthReport("cassandra", False, detail)
        figures = f"{self._session.requests} requests, {self._session.unanswered} of them unanswered at first"
        return HealthReport("cassandra", True, f"{server} at {place}; {figures}", warning)

    async def _look_at_copies(self, session: CassandraSession) -> str | None:
        """Whether acknowledged commits may be lost with one node; a developer's own machine is not asked."""
        settings = session.settings
        if settings.secure_connect_bundle is None and not are_remote(settings.contact_points):
            return None
        query = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
        rows = await session.run_cql(query, (settings.keyspace,))
        if not rows:
            return None
        try:
            found = await session.run_cql(
                "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
            )
        except FlowcraftError:
            # Not there before release 4, and not everybody may read it.
            found = []
        sync = found[0][0] if found else None
        return warn_of_keyspace(settings.keyspace, count_copies(rows[0][0]), sync)

    async def _check_redis(self) -> HealthReport:
        trouble = await self.coordination.check_health()
        if trouble is not None:
            return HealthReport("redis", False, trouble)
        return HealthReport("redis", True, await self.coordination.describe_server())
