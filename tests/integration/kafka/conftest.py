from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from tests.integration.kafka.site import Site

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "stack"


@pytest.fixture
def site(stack: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    own = Site(tmp_path, stack)
    yield own
    asyncio.run(drop_keyspace(own.environment))


async def drop_keyspace(environment: dict[str, str]) -> None:
    settings = CassandraSettings(
        contact_points=tuple(environment["CASSANDRA_CONTACT_POINTS"].split(",")),
        port=int(environment["CASSANDRA_PORT"]),
        keyspace=environment["CASSANDRA_KEYSPACE"],
    )
    session = CassandraSession(settings)
    await session.open()
    await session.run_cql(f"DROP KEYSPACE IF EXISTS {settings.keyspace}")
    await session.close()


class OwnServer:
    """A Cassandra that one test may stop and start."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.environment: dict[str, str] = {}

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *words, "--data", str(self._data)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        return done.stdout


@pytest.fixture(scope="session")
def own_cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path_factory.mktemp("own-cassandra"))
    try:
        shown = server("up", "--local", "--with", "cassandra", "--cassandra-port", "0", "--json")
        server.environment = dict(json.loads(shown)["environment"])
        yield server
    finally:
        server("down", "--delete")
