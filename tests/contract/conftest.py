"""Real servers for the contract suites: those of the environment, or a stack of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings


@dataclass(frozen=True)
class Servers:
    """Where the real servers are.

    Attributes:
        brokers: of Kafka.
        cassandra: settings with a keyspace of this session alone, its tables made.
        redis_url: of Redis.
    """

    brokers: tuple[str, ...]
    cassandra: CassandraSettings
    redis_url: str


@pytest.fixture(scope="session")
def servers(stack: dict[str, str]) -> Iterator[Servers]:
    """The servers, with a keyspace for this session."""
    settings = CassandraSettings(
        contact_points=tuple(stack["CASSANDRA_CONTACT_POINTS"].split(",")),
        port=int(stack["CASSANDRA_PORT"]),
        keyspace=f"contract_{uuid.uuid4().hex[:8]}",
    )
    asyncio.run(create_layout(settings))
    yield Servers(tuple(stack["KAFKA_BROKERS"].split(",")), settings, stack["REDIS_URL"])
    asyncio.run(_drop_keyspace(settings))


async def create_layout(settings: CassandraSettings) -> None:
    """Make keyspace and tables that are missing."""
    session = CassandraSession(settings)
    await session.open()
    await session.layout.create()
    await session.close()


async def _drop_keyspace(settings: CassandraSettings) -> None:
    session = CassandraSession(settings)
    await session.open()
    await session.run_cql(f"DROP KEYSPACE {settings.keyspace}")
    await session.close()
