"""What a person has who set up the servers by the production guide: users' variables, commands, workers, clients."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AclBinding  # type: ignore[attr-defined]
from stack_servers.ports import LOOPBACK

from flowcraft_dagster import Client, Settings
from tests.docs.test_production import read_environment
from tests.integration.kafka.sample_app import FOLDER, TARGET, make_app
from tests.integration.secured.administrator import KafkaAdministrator
from tests.integration.secured.servers import PASSWORD, ROOT, SNIPPETS, SecuredServers, password_of

COMMAND_SECONDS = 120.0
STOP_SECONDS = 60.0
_FOREIGN = ("FLOWCRAFT_", "DAGSTER_", "KAFKA_", "CASSANDRA_", "REDIS_")

INIT = ("flowcraft-init", "flowcraft_init")
WORKER = ("flowcraft-worker", "flowcraft_worker")
CLIENT = ("flowcraft-client", "flowcraft_worker")
OPERATOR = ("flowcraft-operator", "flowcraft_worker")
READER = (None, "flowcraft_reader")
"""Users of Kafka and roles of Cassandra."""

User = tuple[str | None, str]


@dataclass(frozen=True)
class Site:
    """Servers with users, rights, topics and tables.

    Attributes:
        servers: where they are.
        administrator: may change Kafka's rights.
        rights: what ``kafka-rights.sh`` granted.
        folder: of the sample app and of logs.
    """

    servers: SecuredServers
    administrator: KafkaAdministrator
    rights: list[AclBinding]
    folder: Path

    def variables(self, user: User, **changes: str) -> dict[str, str]:
        """``own-servers.env`` as a user fills it in; nobody may look into Kafka without a user of it."""
        name, role = user
        servers, ca = self.servers, str(self.servers.certificates.ca)
        written = read_environment(SNIPPETS / "own-servers.env")
        own = {
            "KAFKA_BROKERS": f"{LOOPBACK}:{servers.kafka}",
            "KAFKA_REPLICATION_FACTOR": "1",
            "KAFKA_PARTITIONS": "4",
            "KAFKA_SASL_USERNAME": name or "nobody",
            "KAFKA_SASL_PASSWORD": password_of(name or "nobody"),
            "KAFKA_TLS_CA_FILE": ca,
            "CASSANDRA_CONTACT_POINTS": LOOPBACK,
            "CASSANDRA_DATACENTER": "datacenter1",
            "CASSANDRA_REPLICATION": '{"datacenter1": 1}',
            "CASSANDRA_USERNAME": role,
            "CASSANDRA_PASSWORD": password_of(role),
            "CASSANDRA_TLS_CA_FILE": ca,
            "REDIS_URL": f"rediss://{LOOPBACK}:{servers.redis}/0",
            "REDIS_PASSWORD": password_of("flowcraft"),
            "REDIS_TLS_CA_FILE": ca,
        }
        assert own.keys() <= written.keys(), "the guide's file does not name them"
        return {
            **written,
            **own,
            "CASSANDRA_PORT": str(servers.cassandra),
            "FLOWCRAFT_DRAIN_SECONDS": "2",
            # A busy machine answers late.
            "REDIS_TIMEOUT_SECONDS": "2",
            FOLDER: str(self.folder),
            **changes,
        }

    def command(self, user: User, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run ``flowcraft-dagster`` to its end, whatever that is; it shows no secret and no traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "flowcraft_dagster.cli", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=self._environment(user, **changes),
            timeout=COMMAND_SECONDS,
        )
        require_clean(done.stdout + done.stderr)
        return done

    @contextmanager
    def worker(self, user: User, log: Path, **changes: str) -> Iterator[None]:
        """A worker process, which must drain and end well; its log shows no secret and no traceback."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flowcraft_dagster.cli", "worker", "--app", TARGET, "--slot", log.stem],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self._environment(user, **changes),
            )
        try:
            yield
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
        require_clean(log.read_text(encoding="utf-8"))

    @contextmanager
    def client(self, user: User, **changes: str) -> Iterator[Client]:
        """A client in this process."""
        with make_app(self.folder).client(Settings.from_env(self.variables(user, **changes))) as client:
            yield client

    def _environment(self, user: User, **changes: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {**own, **self.variables(user, **changes)}


def require_clean(output: str) -> None:
    """No output of ours may show these."""
    assert PASSWORD.format("") not in output
    assert "Traceback" not in output
