"""Servers as plain processes of this machine, without Docker."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from stack_servers import process, record
from stack_servers.errors import StackError
from stack_servers.kinds import KINDS, Kind
from stack_servers.ports import LOOPBACK, is_free, pick_free
from stack_servers.record import Record

_GRACE_SECONDS = 30.0
_RELEASE_SECONDS = 5.0
_POLL_SECONDS = 0.05


def is_running(known: Record) -> bool:
    """Whether the server's own process runs."""
    return known.pid is not None and known.identity is not None and process.is_running(known.pid, known.identity)


def choose_ports(wanted: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Ports for servers of a new stack.

    Args:
        wanted: port for clients by server; 0 means any free one.

    Returns:
        Ports by purpose, by server; no two are equal.

    Raises:
        StackError: a wanted port is in use.
    """
    taken = {port for port in wanted.values() if port}
    chosen: dict[str, dict[str, int]] = {}
    for name, port in wanted.items():
        ports = {}
        for purpose in ("client", *KINDS[name].inner_ports):
            ports[purpose] = port if purpose == "client" and port else pick_free(taken)
            taken.add(ports[purpose])
        _check_free(KINDS[name], ports)
        chosen[name] = ports
    return chosen


def start(data: Path, known: Record) -> Record:
    """Start a server's process; it may not answer yet.

    Returns:
        Its new record, saved already.

    Raises:
        StackError: a port is in use, or a program or jar is missing.
    """
    kind = KINDS[known.name]
    # A server that has just ended may hold its ports for a moment longer.
    _check_free(kind, known.ports, _RELEASE_SECONDS)
    folder = _folder(data, known.name)
    folder.mkdir(parents=True, exist_ok=True)
    command = kind.prepare(folder, known.ports)
    pid, identity = process.spawn(command, log_file(data, known.name), folder)
    started = Record(known.name, known.mode, known.ports, pid, identity)
    record.save(data, started)
    return started


def stop(data: Path, known: Record, *, at_once: bool = False) -> None:
    """End the server's process and wait for that.

    Args:
        data: the stack's folder.
        known: the server's record.
        at_once: with SIGKILL, as a crash would.
    """
    if known.pid is not None and known.identity is not None:
        process.stop(known.pid, known.identity, grace_seconds=0 if at_once else _GRACE_SECONDS)
    record.save(data, known.without_process())


def delete_data(data: Path, name: str) -> None:
    """Remove what the server stored."""
    shutil.rmtree(_folder(data, name), ignore_errors=True)


def log_file(data: Path, name: str) -> Path:
    """The file with everything the server printed."""
    return data / name / "server.log"


def _folder(data: Path, name: str) -> Path:
    return data / name / "data"


def _check_free(kind: Kind, ports: Mapping[str, int], seconds: float = 0.0) -> None:
    deadline = time.monotonic() + seconds
    for purpose, port in ports.items():
        while not is_free(port):
            if time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            option = f"; choose another one with --{kind.name}-port, or 0 for any" if purpose == "client" else ""
            message = f"{kind.name}: port {port} ({purpose}) on {LOOPBACK} is in use{option}"
            raise StackError(message)
