"""Real servers: those of the environment, or a stack of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Whoever imports the suites first, their asserts tell what they compared.
pytest.register_assert_rewrite("flowcraft_dagster.testing.contracts")

PROJECT = Path(__file__).resolve().parents[1]
VARIABLES = ("KAFKA_BROKERS", "CASSANDRA_CONTACT_POINTS", "CASSANDRA_PORT", "REDIS_URL")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that say where the servers are; servers are started where the environment names none."""
    if all(os.environ.get(name) for name in VARIABLES):
        yield {name: os.environ[name] for name in VARIABLES}
        return
    data = tmp_path_factory.mktemp("stack")
    program = [sys.executable, str(PROJECT / "scripts" / "stack")]
    ports = ["--kafka-port", "0", "--cassandra-port", "0", "--redis-port", "0"]
    try:
        up = subprocess.run(
            [*program, "up", "--local", "--data", str(data), "--json", *ports],
            check=True,
            stdout=subprocess.PIPE,
            timeout=600,
        )
        yield dict(json.loads(up.stdout)["environment"])
    finally:
        subprocess.run([*program, "down", "--data", str(data), "--delete"], check=True, timeout=120)
