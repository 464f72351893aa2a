"""Servers as containers of ``docker-compose.yml``, where a Docker engine answers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from stack_servers.errors import StackError
from stack_servers.ports import LOOPBACK
from stack_servers.record import Record

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"


def engine_answers() -> bool:
    """Whether a Docker engine runs here and the client has its ``compose`` command."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    return all(_succeeds([docker, *words]) for words in (("info",), ("compose", "version")))


def override_text(ports: Mapping[str, int]) -> str:
    """A second Compose file that moves the published ports of ``docker-compose.yml``.

    Args:
        ports: the port on loopback by server.
    """
    lines = ["services:"]
    inside = {"kafka": 9092, "cassandra": 9042, "redis": 6379}
    for name, port in ports.items():
        lines += [f"  {name}:", "    ports: !override", f'      - "{LOOPBACK}:{port}:{inside[name]}"']
        if name == "kafka":
            listeners = f"PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:{port}"
            lines += ["    environment:", f'      KAFKA_ADVERTISED_LISTENERS: "{listeners}"']
    return "\n".join(lines) + "\n"


def write_override(data: Path, records: Iterable[Record]) -> None:
    """Write the second Compose file, for all servers of the stack."""
    data.mkdir(parents=True, exist_ok=True)
    text = override_text({known.name: known.port for known in records})
    _override_file(data).write_text(text, encoding="utf-8")


def start(data: Path, names: Iterable[str]) -> None:
    """Start containers, created where they are missing; they may not answer yet.

    Raises:
        StackError: Compose failed.
    """
    _compose(data, "up", "--detach", *names)


def stop(data: Path, name: str, *, at_once: bool = False) -> None:
    """Stop the container of one server; ``at_once`` with SIGKILL, as a crash would."""
    _compose(data, "kill" if at_once else "stop", name)


def is_running(data: Path, name: str) -> bool:
    """Whether the server's container runs."""
    return name in _compose(data, "ps", "--services", "--status", "running").split()


def down(data: Path, *, delete: bool) -> None:
    """Remove the containers, and with ``delete`` their volumes too."""
    _compose(data, "down", *(["--volumes"] if delete else []))


def last_output(data: Path, name: str) -> str:
    """The last lines that the server printed."""
    return _compose(data, "logs", "--no-color", "--tail", "30", name)


def _override_file(data: Path) -> Path:
    return data / "compose.override.yml"


def _compose(data: Path, *words: str) -> str:
    # Containers and volumes carry the project's name: each data folder has its own.
    project = "flowcraft-" + hashlib.sha256(str(data).encode()).hexdigest()[:10]
    files = ["-f", str(COMPOSE_FILE), "-f", str(_override_file(data))]
    done = subprocess.run(
        ["docker", "compose", "-p", project, *files, *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        message = f"docker compose {words[0]} failed:\n{done.stderr.strip()[-2000:]}"
        raise StackError(message)
    return done.stdout


def _succeeds(command: list[str]) -> bool:
    # An engine that hangs is no engine.
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
