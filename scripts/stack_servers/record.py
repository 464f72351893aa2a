"""What is known about a server between two commands: one small JSON file in its folder."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stack_servers.errors import StackError


@dataclass(frozen=True)
class Record:
    """One server of a stack.

    Attributes:
        name: ``kafka``, ``cassandra`` or ``redis``.
        mode: ``local`` or ``compose``.
        ports: port by purpose; ``client`` is what clients connect to.
        pid: the process, or None when it is not running or runs in a container.
        identity: tells that process from a later one with the same pid.
    """

    name: str
    mode: str
    ports: dict[str, int]
    pid: int | None = None
    identity: str | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports["client"]

    def without_process(self) -> Record:
        """The same server, not running."""
        return replace(self, pid=None, identity=None)


def load(data: Path, name: str) -> Record | None:
    """The record of a server, or None when the stack has none of that name.

    Raises:
        StackError: the file cannot be read.
    """
    path = _path(data, name)
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Record(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        message = f"{path}: {error}; stop the server by hand and remove the file"
        raise StackError(message) from error


def save(data: Path, record: Record) -> None:
    """Write a record; a reader sees the old one or the new one."""
    path = _path(data, record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def forget(data: Path, name: str) -> None:
    """Remove a record."""
    _path(data, name).unlink(missing_ok=True)


@contextmanager
def exclusive(data: Path, name: str) -> Iterator[None]:
    """Hold a server for one command; another command on the same server waits."""
    folder = _path(data, name).parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path(data: Path, name: str) -> Path:
    return data / name / "stack.json"
