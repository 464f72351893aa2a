"""Counting starts of nodes outside of what the runtime commits.

Workers append a line for every start of a node of an entry run, before the node runs, with one write to a file that is
open for appending: lines of several processes do not mix, and a line survives the death of its process.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from flowcraft_dagster.engine.node import Event

RUN_PREFIX = "conformance-"
"""Entry runs are named so; runs of sub-flows are not counted."""

_ENDS = frozenset({"node:finish", "node:error"})


@dataclass
class Starts:
    """What was started in one run.

    Attributes:
        executions: starts by node id.
        batch_workers: activations of batch items.
    """

    executions: Counter[str] = field(default_factory=Counter)
    batch_workers: set[str] = field(default_factory=set)


class Tally:
    """Takes events, or lines about them, and counts."""

    def __init__(self) -> None:
        self._starts: dict[str, Starts] = {}
        self._running: dict[int, set[tuple[str, str, str]]] = {}

    def read(self, run_id: str) -> Starts:
        """What was started in a run so far."""
        return self._starts.get(run_id, Starts())

    def list_running(self, pid: int) -> set[tuple[str, str]]:
        """Run and node of everything that a process has begun and not ended, waits included."""
        return {(run_id, node_id) for run_id, node_id, _ in self._running.get(pid, ())}

    def take_event(self, event: Event) -> None:
        """Count an event of this process."""
        entry = describe_event(event)
        if entry is not None:
            self.take(entry)

    def take(self, entry: dict[str, Any]) -> None:
        """Count an entry."""
        run_id, node_id, activation = entry["run"], entry["node"], entry["activation"]
        running = self._running.setdefault(entry["pid"], set())
        if entry["end"]:
            running.discard((run_id, node_id, activation))
            return
        running.add((run_id, node_id, activation))
        starts = self._starts.setdefault(run_id, Starts())
        # An item's key ends with its index; a bracket in a node's id is escaped there.
        if activation.endswith("]"):
            starts.batch_workers.add(activation)
        else:
            starts.executions[node_id] += 1


class TallyFile(Tally):
    """Counts what workers wrote to a file.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._offset = 0

    def read(self, run_id: str) -> Starts:
        """What was started in a run so far; reads what is new in the file."""
        self.catch_up()
        return super().read(run_id)

    def catch_up(self) -> None:
        """Read what is new in the file."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].splitlines():
            self.take(orjson.loads(line))


class TallyWriter:
    """A listener for workers: appends a line for each start and end of a node of an entry run.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __call__(self, event: Event) -> None:
        """Write an event's line, if it is one that counts."""
        entry = describe_event(event)
        if entry is not None:
            os.write(self._file, orjson.dumps(entry) + b"\n")


def describe_event(event: Event) -> dict[str, Any] | None:
    """The entry for an event; None for one that does not count."""
    is_end = event.type in _ENDS
    payload = event.payload
    if not (is_end or event.type == "node:start") or not str(payload["runId"]).startswith(RUN_PREFIX):
        return None
    return {
        "run": payload["runId"],
        "node": payload["nodeId"],
        "activation": payload["activation"],
        "pid": os.getpid(),
        "end": is_end,
    }
