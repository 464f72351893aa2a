"""What nodes did, in a file that worker processes and tests share."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A node began or ended.

    Attributes:
        run_id, activation: which.
        event: ``begin`` or ``end``.
        pid: the process it happened in.
    """

    run_id: str
    activation: str
    event: str
    pid: int


class Record:
    """Appends and reads lines; each is one write, so that processes do not mix theirs.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, run_id: str, activation: str, event: str) -> None:
        """Append a line."""
        data = json.dumps([run_id, activation, event, os.getpid()]).encode() + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)

    def read(self, run_id: str | None = None) -> list[Line]:
        """Lines so far, of one run or of all."""
        if not self.path.exists():
            return []
        lines = [Line(*json.loads(line)) for line in self.path.read_bytes().splitlines()]
        return [line for line in lines if run_id in (None, line.run_id)]

    def count_begins(self, run_id: str) -> Counter[str]:
        """How often each activation of a run began."""
        return Counter(line.activation for line in self.read(run_id) if line.event == "begin")

    def find_worker(self, run_id: str, activation: str) -> int | None:
        """The process in which an activation began first."""
        begins = [line.pid for line in self.read(run_id) if (line.activation, line.event) == (activation, "begin")]
        return begins[0] if begins else None
