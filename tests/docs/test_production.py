"""The settings and rights in the production guide are ones that the code takes and that are enough."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.settings import Settings
from tests.docs.pages import ROOT

SNIPPETS: Final = ROOT / "docs" / "snippets"
ENVIRONMENTS: Final = sorted(SNIPPETS.glob("*.env"))
MODELS: Final[dict[str, type[BaseModel]]] = {
    "KAFKA": KafkaSettings,
    "CASSANDRA": CassandraSettings,
    "REDIS": RedisSettings,
}


def read_environment(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_every_variable_is_a_field_and_has_a_value_it_takes(path: Path) -> None:
    environment = read_environment(path)
    for variable in environment:
        prefix, _, name = variable.partition("_")
        assert variable == "FLOWCRAFT_BACKEND" or name.lower() in MODELS[prefix].model_fields, variable
    settings = [read_settings(model, prefix, environment) for prefix, model in MODELS.items()]
    Settings.from_env(environment)
    secrets = [name for name, value in environment.items() if "change-me" in value]
    assert secrets
    assert "change-me" not in repr(settings), secrets


def test_the_snippets_say_what_the_guide_says_of_them() -> None:
    own = read_environment(SNIPPETS / "own-servers.env")
    kafka = read_settings(KafkaSettings, "KAFKA", own)
    assert (kafka.replication_factor, kafka.sasl_mechanism, kafka.is_encrypted) == (3, "SCRAM-SHA-512", True)
    cassandra = read_settings(CassandraSettings, "CASSANDRA", own)
    assert (cassandra.replication, cassandra.consistency, cassandra.serial_consistency) == (
        {"dc1": 3},
        "LOCAL_QUORUM",
        "LOCAL_SERIAL",
    )
    assert cassandra.is_encrypted
    assert read_settings(RedisSettings, "REDIS", own).is_encrypted
    oauth = read_settings(KafkaSettings, "KAFKA", read_environment(SNIPPETS / "confluent-cloud-oauth.env"))
    assert oauth.as_librdkafka()["sasl.oauthbearer.extensions"].startswith("logicalCluster=")
    astra = read_settings(CassandraSettings, "CASSANDRA", read_environment(SNIPPETS / "astra.env"))
    assert astra.replication is None
    assert astra.is_encrypted


def test_topics_are_made_as_init_makes_them() -> None:
    script = (SNIPPETS / "topics.sh").read_text(encoding="utf-8")
    settings = KafkaSettings()
    wanted = [
        f"{settings.jobs_topic}:{settings.partitions}",
        f"{settings.requests_topic}:{settings.partitions}",
        f"{settings.letters_topic}:1",
    ]
    assert re.findall(r"flowcraft-[\w.-]+:\d+", script) == wanted
    assert f"retention.ms={settings.retention_hours * 3_600_000}" in script


@pytest.mark.parametrize("path", sorted(SNIPPETS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_call_kafkas_tools_with_what_was_given(path: Path, tmp_path: Path) -> None:
    # Stand-ins that say how they were called: the scripts need a cluster otherwise.
    calls = tmp_path / "calls"
    for tool in ("kafka-topics.sh", "kafka-acls.sh"):
        (tmp_path / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>{calls}\n', encoding="utf-8")
        (tmp_path / tool).chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-eu", str(path), "--command-config", "admin.properties"],
        check=True,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "KAFKA": "kafka-1.example.com:9093"},
    )
    lines = calls.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 3
    for line in lines:
        assert "--bootstrap-server kafka-1.example.com:9093 --command-config admin.properties" in line


@pytest.fixture
def restricted_redis(tmp_path: Path, unused_tcp_port: int) -> Iterator[RedisSettings]:
    """A Redis whose only user has the rights of the snippet."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is missing; run scripts/setup --servers"
    rules = (SNIPPETS / "redis.acl").read_text(encoding="utf-8")
    (tmp_path / "users.acl").write_text(f"user default off\n{rules}", encoding="utf-8")
    options = ["--port", str(unused_tcp_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(
        [program, *options, "--aclfile", str(tmp_path / "users.acl")], stdout=subprocess.DEVNULL
    ) as server:
        try:
            yield RedisSettings.model_validate(
                {
                    "url": f"redis://127.0.0.1:{unused_tcp_port}/0",
                    "username": "flowcraft",
                    "password": "change-me",
                    "timeout_seconds": 2.0,
                }
            )
        finally:
            server.terminate()


@pytest.mark.redis
async def test_the_redis_user_may_do_all_that_is_needed(restricted_redis: RedisSettings) -> None:
    first, second = RedisCoordination(restricted_redis), RedisCoordination(restricted_redis)
    deadline = time.monotonic() + 10.0
    while await first.check_health() is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    try:
        assert await first.acquire_lease("timers", "first", 5.0)
        assert not await second.acquire_lease("timers", "second", 5.0)
        await first.release_lease("timers", "first")
        assert await second.acquire_lease("timers", "second", 5.0)
        heard = asyncio.ensure_future(first.await_run("run-1", 10.0))
        while not heard.done():
            await second.announce_runs(["run-1"])
            await asyncio.wait([heard], timeout=0.05)
        assert heard.result()
        assert (await second.describe_server()).startswith("Redis ")
        assert not first.operations["failures"] + second.operations["failures"]
    finally:
        await first.close()
        await second.close()
