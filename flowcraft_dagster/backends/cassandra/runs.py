"""Rows of a run's partition as records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import SizeLimitExceeded
from flowcraft_dagster.ports.records import Commit, Row, RunHeader, Signal, StoredRun

CONTEXT_KEY = "c"
FACT_PREFIX = "f/"
SIGNAL_PREFIX = "s/"
BEHIND_SIGNALS = "s0"
"""The first key that sorts behind every signal."""


def read_run(header: RunHeader, rows: Iterable[tuple[Any, ...]]) -> StoredRun:
    """A run from its partition.

    Args:
        header: read before or together with the rows.
        rows: ``(key, seq, data, output, ...)`` of the whole partition.

    Returns:
        The run as of ``header``: facts that were committed after it was read are left out.
    """
    context = b"{}"
    facts: list[Row] = []
    signals: list[Signal] = []
    for key, seq, data, output, *_ in rows:
        if key is None or data is None:
            continue  # a partition without rows, or a heartbeat alone
        if key.startswith(FACT_PREFIX):
            if seq <= header.seq:
                facts.append(Row(key[len(FACT_PREFIX) :], seq, data, output))
        elif key.startswith(SIGNAL_PREFIX):
            signals.append(Signal(key[len(SIGNAL_PREFIX) :], data))
        elif key == CONTEXT_KEY:
            context = data
    facts.sort(key=lambda row: row.seq)
    return StoredRun(header, context, tuple(facts), tuple(signals))


def check_size(what: str, size: int, limit: int) -> None:
    """Refuse what is too large. Raises SizeLimitExceeded."""
    if size > limit:
        raise SizeLimitExceeded(what=what, size=size, limit=limit)


def check_commit(commit: Commit, settings: CassandraSettings) -> None:
    """Refuse a commit with too large a value, or too many. Raises SizeLimitExceeded."""
    total = 0
    for row in commit.rows:
        check_size(f"the data of '{row.key}'", len(row.data), settings.max_value_bytes)
        total += len(row.data)
        if row.output is not None:
            check_size(f"the output of '{row.key}'", len(row.output), settings.max_value_bytes)
            total += len(row.output)
    check_size(f"one commit of {len(commit.rows)} rows", total, settings.max_commit_bytes)


def is_same_start(stored: RunHeader, header: RunHeader) -> bool:
    """Whether a stored head is the one that was to be stored: an unanswered write took effect after all."""

    def identity(of: RunHeader) -> Mapping[str, Any]:
        names = ("blueprint_id", "blueprint_hash", "input_hash", "started_at", "parent", "retry_of")
        return {name: getattr(of, name) for name in names}

    return stored.epoch == 0 and stored.seq == 0 and identity(stored) == identity(header)
