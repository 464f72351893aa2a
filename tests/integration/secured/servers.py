"""Kafka, Cassandra and Redis that demand TLS and passwords.

They run from what ``scripts/stack`` runs from, as processes of the test, on free ports of loopback.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack_servers.kinds import KINDS
from stack_servers.ports import LOOPBACK, pick_free
from stack_servers.probes import kafka_answers

from tests.integration.secured.certificates import STORE_PASSWORD, Certificates, make_certificates

ROOT = Path(__file__).resolve().parents[3]
SNIPPETS = ROOT / "docs" / "snippets"
START_SECONDS = 240.0

KAFKA_USERS = ("flowcraft-init", "flowcraft-worker", "flowcraft-client", "flowcraft-operator")
PASSWORD = "open-sesame-of-{}"
"""Each user has a password of its own, which no output may show."""

_JAAS = "org.apache.kafka.common.security"
_CASSANDRA_SECURITY = """
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
permissions_validity: 0ms
roles_validity: 0ms
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: false
  keystore: {store}
  keystore_password: {password}
  store_type: PKCS12
"""


def password_of(user: str) -> str:
    """The password of a Kafka user, a Cassandra role or the Redis user."""
    return PASSWORD.format(user)


@dataclass(frozen=True)
class SecuredServers:
    """Where they are.

    Attributes:
        folder: of their data and logs.
        certificates: what they show and what clients trust.
        kafka: port that demands TLS and SASL.
        kafka_inside: port of the administrator, who is anonymous there.
        cassandra, redis: ports.
    """

    folder: Path
    certificates: Certificates
    kafka: int
    kafka_inside: int
    cassandra: int
    redis: int


@contextmanager
def run_servers(folder: Path) -> Iterator[SecuredServers]:
    """Start all three at the same time, and end them whatever happens."""
    certificates = make_certificates(folder / "certificates")
    taken: set[int] = set()
    ports: dict[str, int] = {}
    for name in ("kafka", "inside", "controller", "cassandra", "storage", "ssl_storage", "redis"):
        ports[name] = pick_free(taken)
        taken.add(ports[name])
    servers = SecuredServers(folder, certificates, ports["kafka"], ports["inside"], ports["cassandra"], ports["redis"])
    with ExitStack() as running:
        watched = {
            name: running.enter_context(_run(name, prepare(folder / name, ports, certificates), folder))
            for name, prepare in (
                ("cassandra", _prepare_cassandra),
                ("kafka", _prepare_kafka),
                ("redis", _prepare_redis),
            )
        }
        answers: dict[str, Callable[[], bool]] = {
            "kafka": lambda: kafka_answers(servers.kafka_inside) and _is_open(servers.kafka),
            "cassandra": lambda: _is_open(servers.cassandra),
            "redis": lambda: _is_open(servers.redis),
        }
        _await(watched, answers, folder)
        yield servers


@contextmanager
def _run(name: str, command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder / name)
        try:
            yield server
        finally:
            # Nothing of it is kept, so it need not end well.
            server.kill()
            server.wait()


def _await(
    servers: Mapping[str, subprocess.Popen[bytes]], answers: Mapping[str, Callable[[], bool]], folder: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = list(servers)
    while waiting:
        waiting = [name for name in waiting if not answers[name]()]
        for name in waiting:
            is_late = time.monotonic() > deadline
            if is_late or servers[name].poll() is not None:
                log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                pytest.fail(f"{name} does not start:\n{log[-3000:]}")
        time.sleep(0.1 if waiting else 0)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _prepare_kafka(folder: Path, ports: Mapping[str, int], certificates: Certificates) -> list[str]:
    folder.mkdir()
    command = KINDS["kafka"].prepare(folder, {"client": ports["inside"], "controller": ports["controller"]})
    secured = f"SASL_SSL://{LOOPBACK}:{ports['kafka']}"
    plain_users = " ".join(f'user_{user}="{password_of(user)}"' for user in KAFKA_USERS)
    added = {
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports['inside']},{secured},CONTROLLER://{LOOPBACK}:{ports['controller']}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports['inside']},{secured}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required {plain_users};",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.key_and_certificate),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The broker itself and the administrator come by the listeners without a password.
        "super.users": "User:ANONYMOUS",
        "auto.create.topics.enable": "false",
    }
    # Of two lines with the same name the last one counts.
    with (folder / "server.properties").open("a", encoding="utf-8") as properties:
        properties.writelines(f"{key}={value}\n" for key, value in added.items())
    return command


def _prepare_cassandra(folder: Path, ports: Mapping[str, int], certificates: Certificates) -> list[str]:
    folder.mkdir()
    inner = {"client": ports["cassandra"], "storage": ports["storage"], "ssl_storage": ports["ssl_storage"]}
    command = KINDS["cassandra"].prepare(folder, inner)
    with (folder / "conf" / "cassandra.yaml").open("a", encoding="utf-8") as config:
        config.write(_CASSANDRA_SECURITY.format(store=certificates.store, password=STORE_PASSWORD))
    # Hashing passwords as slowly as in production would show nothing more.
    return [command[0], "-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4", *command[1:]]


def _prepare_redis(folder: Path, ports: Mapping[str, int], certificates: Certificates) -> list[str]:
    folder.mkdir()
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is missing; run scripts/setup --servers"
    rules = (SNIPPETS / "redis.acl").read_text(encoding="utf-8")
    rules = re.sub("change-me", password_of("flowcraft"), rules)
    (folder / "users.acl").write_text(f"user default off\n{rules}", encoding="utf-8")
    return [
        *(program, "--bind", LOOPBACK, "--port", "0", "--tls-port", str(ports["redis"])),
        *("--tls-cert-file", str(certificates.certificate), "--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.ca), "--tls-auth-clients", "no"),
        *("--aclfile", str(folder / "users.acl"), "--dir", str(folder), "--save", ""),
    ]
