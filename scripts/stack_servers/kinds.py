"""The three kinds of server: ports, files, command line, and what a client has to know."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack_servers import cassandra_files
from stack_servers.errors import StackError
from stack_servers.jars import fetch_jars, find_java
from stack_servers.ports import LOOPBACK
from stack_servers.probes import cassandra_answers, kafka_answers, redis_answers

Ports = Mapping[str, int]


@dataclass(frozen=True)
class Kind:
    """One kind of server.

    Attributes:
        name: its name on the command line and in ``docker-compose.yml``.
        default_port: the port that clients connect to, unless another one is asked for.
        inner_ports: what it needs further ports for, when it runs without Docker.
        prepare: writes its files into its folder and returns its command line.
        answers: whether the server on that port answers a request.
        environment: the variables that tell clients where it is.
    """

    name: str
    default_port: int
    inner_ports: tuple[str, ...]
    prepare: Callable[[Path, Ports], list[str]]
    answers: Callable[[int], bool]
    environment: Callable[[int], dict[str, str]]


def _prepare_kafka(folder: Path, ports: Ports) -> list[str]:
    java = find_java(range(11, 25), "Kafka 3.9 needs Java 11 to 24")
    class_path = f"{fetch_jars('org.apache.kafka:kafka_2.13:3.9.1', 'org.slf4j:slf4j-simple:1.7.36')}/*"
    properties = folder / "server.properties"
    logs = folder / "logs"
    listeners = f"PLAINTEXT://{LOOPBACK}:{ports['client']},CONTROLLER://{LOOPBACK}:{ports['controller']}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports['controller']}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports['client']}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(logs),
        "auto.create.topics.enable": "true",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        # Tests kill workers and must not wait long for the group to notice.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    if not (logs / "meta.properties").exists():
        _format_kafka(java, class_path, properties)
    return [java, "-Xmx512m", "-cp", class_path, "kafka.Kafka", str(properties)]


def _format_kafka(java: str, class_path: str, properties: Path) -> None:
    # A cluster id is a UUID in URL-safe base64; one that begins with a dash would be read as an option.
    cluster_id = "-"
    while cluster_id.startswith("-"):
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
    tool = [java, "-cp", class_path, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"Kafka's storage tool failed:\n{(done.stdout + done.stderr)[-2000:]}"
        raise StackError(message)


def _prepare_cassandra(folder: Path, ports: Ports) -> list[str]:
    # Cassandra 5.0 is made for Java 11 and 17; the module options below are those of 17.
    java = find_java((17,), "Cassandra 5.0 needs Java 17")
    jars = fetch_jars("org.apache.cassandra:cassandra-all:5.0.4")
    return cassandra_files.write(folder, ports, java=java, jars=jars)


def _prepare_redis(folder: Path, ports: Ports) -> list[str]:
    program = shutil.which("redis-server")
    if program is None:
        message = "redis-server is missing; on Debian: apt-get install redis-server"
        raise StackError(message)
    # Nothing is kept over a restart: what stands in Redis is only a hint.
    return [program, "--bind", LOOPBACK, "--port", str(ports["client"]), "--dir", str(folder), "--save", ""]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="cassandra",
            default_port=9042,
            inner_ports=("storage", "ssl_storage"),
            prepare=_prepare_cassandra,
            answers=cassandra_answers,
            environment=lambda port: {
                "CASSANDRA_CONTACT_POINTS": LOOPBACK,
                "CASSANDRA_PORT": str(port),
                "CASSANDRA_DATACENTER": "datacenter1",
            },
        ),
        Kind(
            name="kafka",
            default_port=9092,
            inner_ports=("controller",),
            prepare=_prepare_kafka,
            answers=kafka_answers,
            environment=lambda port: {"KAFKA_BROKERS": f"{LOOPBACK}:{port}"},
        ),
        Kind(
            name="redis",
            default_port=6379,
            inner_ports=(),
            prepare=_prepare_redis,
            answers=redis_answers,
            environment=lambda port: {"REDIS_URL": f"redis://{LOOPBACK}:{port}/0"},
        ),
    )
}
"""The kinds of server by name; the one that takes longest to start comes first."""
