"""The backend as a whole: schema, health, and what a person reads there."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from tests.contract.conftest import Servers

PATIENCE_SECONDS = 60.0

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis]


def test_schema_is_made_once_and_health_tells_what_is_missing(servers: Servers) -> None:
    name = f"test-{uuid.uuid4().hex[:10]}"
    kafka = KafkaSettings(
        brokers=servers.brokers,
        jobs_topic=name,
        letters_topic=f"{name}.dlq",
        requests_topic=f"{name}.requests",
        partitions=1,
    )
    redis = RedisSettings.model_validate({"url": servers.redis_url, "timeout_seconds": 2.0})

    async def drive() -> None:
        backend = KafkaBackend(kafka, servers.cassandra, redis)
        reports = {report.name: report for report in await backend.check_health()}
        assert not reports["kafka"].ok
        assert "flowcraft-dagster init" in reports["kafka"].detail
        made = await backend.create_schema()
        assert sorted(made) == [f"topic {name}", f"topic {name}.dlq", f"topic {name}.requests"]
        assert await backend.create_schema() == []
        await backend.open()
        reports = {report.name: report for report in await backend.check_health()}
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        # The leaders of new topics are being chosen, and the cluster's first group has no coordinator yet.
        while not all(report.ok for report in reports.values()):
            assert asyncio.get_running_loop().time() < deadline, [report.detail for report in reports.values()]
            reports = {report.name: report for report in await backend.check_health()}
        assert "one partition serves one worker" in reports["kafka"].detail
        assert "lag 0" in reports["kafka"].detail
        assert "Cassandra " in reports["cassandra"].detail
        assert "Redis " in reports["redis"].detail
        await backend.close()
        await backend.close()

    asyncio.run(drive())


def test_deleting_the_schema_leaves_nothing_and_no_harm_to_others(servers: Servers) -> None:
    name = f"gone_{uuid.uuid4().hex[:10]}"
    environment = {
        "KAFKA_BROKERS": ",".join(servers.brokers),
        "KAFKA_JOBS_TOPIC": name,
        "KAFKA_LETTERS_TOPIC": f"{name}.dlq",
        "KAFKA_REQUESTS_TOPIC": f"{name}.requests",
        "KAFKA_PARTITIONS": "1",
        "CASSANDRA_CONTACT_POINTS": ",".join(servers.cassandra.contact_points),
        "CASSANDRA_PORT": str(servers.cassandra.port),
        "CASSANDRA_KEYSPACE": name,
        "REDIS_URL": servers.redis_url,
    }

    async def drive() -> None:
        backend = KafkaBackend.from_env(environment)
        everything = await backend.create_schema()
        await backend.open()
        await backend.delete_schema()
        assert await backend.create_schema() == everything
        other = CassandraSession(servers.cassandra.model_copy(update={"keyspace": name}))
        await other.open()
        await other.run_cql(f"CREATE TABLE {name}.others (id text PRIMARY KEY)")
        await backend.delete_schema()
        made = await backend.create_schema()
        assert f"keyspace {name}" not in made
        assert f"table {name}.contexts" in made
        await other.run_cql(f"DROP TABLE {name}.others")  # is still there
        await other.run_cql(f"DROP KEYSPACE {name}")
        await other.close()
        await backend.close()

    asyncio.run(drive())


def test_health_never_raises_and_shows_no_secret() -> None:
    backend = KafkaBackend.from_env(
        {
            "KAFKA_BROKERS": "127.0.0.1:1",
            "KAFKA_REQUEST_SECONDS": "0.5",
            "CASSANDRA_PORT": "1",
            "CASSANDRA_CONNECT_SECONDS": "0.5",
            "CASSANDRA_USERNAME": "u",
            "CASSANDRA_PASSWORD": "s3cr3t",
            "REDIS_URL": "redis://u:s3cr3t@127.0.0.1:1/0",
        }
    )

    async def drive() -> None:
        reports = await backend.check_health()
        assert [report.ok for report in reports] == [False, False, False]
        assert "s3cr3t" not in str(reports)
        assert "\n" not in "".join(report.detail for report in reports)
        await backend.close()

    asyncio.run(drive())
