"""What an administrator does once: users, and the rights that the guide's snippets grant; nothing beside them."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from stack_servers.ports import LOOPBACK

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import StoreUnavailable
from tests.integration.secured.servers import KAFKA_USERS, SNIPPETS, SecuredServers, password_of

START_SECONDS = 120.0
REQUEST_SECONDS = 60.0


class KafkaAdministrator:
    """Makes users, and grants and revokes by the bindings that ``kafka-acls.sh`` would make of its options."""

    def __init__(self, servers: SecuredServers) -> None:
        self._client = AdminClient(
            {"bootstrap.servers": f"{LOOPBACK}:{servers.kafka_inside}", "log_level": 0}
        )

    def create_users(self) -> None:
        kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(user, kind, password_of(user).encode()) for user in KAFKA_USERS
        ]
        _require_all(self._client.alter_user_scram_credentials(users))

    def grant(self, bindings: Iterable[AclBinding]) -> None:
        _require_all(self._client.create_acls(list(bindings)))

    def revoke(self, binding: AclBinding) -> None:
        names = ("restype", "name", "resource_pattern_type", "principal", "host", "operation", "permission_type")
        only = AclBindingFilter(*(getattr(binding, name) for name in names))
        (found,) = self._client.delete_acls([only]).values()
        assert len(found.result(REQUEST_SECONDS)) == 1


def read_kafka_rights(folder: Path) -> list[AclBinding]:
    """Run ``kafka-rights.sh`` with a stand-in for Kafka's tool; returns what it was told to grant."""
    calls = folder / "calls"
    tool = folder / "kafka-acls.sh"
    tool.write_text(f'#!/bin/sh\necho "$*" >>{shlex.quote(str(calls))}\n', encoding="utf-8")
    tool.chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-eu", str(SNIPPETS / "kafka-rights.sh")],
        check=True,
        env={"PATH": f"{folder}{os.pathsep}{os.defpath}", "KAFKA": "unused:1"},
    )
    return [binding for line in calls.read_text(encoding="utf-8").splitlines() for binding in read_bindings(line)]


def read_bindings(call: str) -> list[AclBinding]:
    """The bindings that a call of ``kafka-acls.sh --add`` makes."""
    words = shlex.split(call)
    assert "--add" in words
    words.remove("--add")
    options: dict[str, list[str]] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        options.setdefault(name, []).append(value)
    known = {"--bootstrap-server", "--allow-principal", "--operation", "--topic", "--group", "--resource-pattern-type"}
    assert set(options) <= known, f"the test does not know {set(options) - known}"
    pattern = ResourcePatternType[options.get("--resource-pattern-type", ["literal"])[0].upper()]
    return [
        AclBinding(kind, name, pattern, principal, "*", AclOperation[operation], AclPermissionType.ALLOW)
        for option, kind in (("--topic", ResourceType.TOPIC), ("--group", ResourceType.GROUP))
        for name in options.get(option, [])
        for principal in options["--allow-principal"]
        for operation in options["--operation"]
    ]


def run_cql(servers: SecuredServers, statements: Iterable[str]) -> None:
    """Run statements as Cassandra's first user, who may do everything."""
    asyncio.run(_run_cql(servers, list(statements)))


def read_cassandra_rights() -> list[str]:
    """The statements of ``cassandra-rights.cql``, for a cluster of one node, with a password for each role."""
    text = (SNIPPETS / "cassandra-rights.cql").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    assert "'dc1': 3" in text
    text = text.replace("'dc1': 3", "'datacenter1': 1")
    text = re.sub(r"ROLE (\w+) (.*)'change-me'", lambda at: f"ROLE {at[1]} {at[2]}'{password_of(at[1])}'", text)
    assert "change-me" not in text
    return [statement.strip() for statement in text.split(";") if statement.strip()]


async def _run_cql(servers: SecuredServers, statements: list[str]) -> None:
    settings = CassandraSettings.model_validate(
        {
            "port": servers.cassandra,
            "datacenter": "datacenter1",
            "username": "cassandra",
            "password": "cassandra",
            "tls": True,
            "tls_ca_file": servers.certificates.ca,
        }
    )
    session = CassandraSession(settings)
    await _open(session)
    try:
        for statement in statements:
            await session.run_cql(statement)
    finally:
        await session.close()


async def _open(session: CassandraSession) -> None:
    """A new cluster makes its first user a moment after it listens."""
    loop = asyncio.get_running_loop()
    until = loop.time() + START_SECONDS
    while True:
        try:
            return await session.open()
        except StoreUnavailable:
            if loop.time() > until:
                raise
        await asyncio.sleep(0.2)


def _require_all(futures: Mapping[Any, Any]) -> None:
    for future in futures.values():
        future.result(REQUEST_SECONDS)

