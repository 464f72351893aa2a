"""How this package opens its SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

CHECKPOINT_PAGES = 4000
"""Pages in the log (16 MB) from which on a commit moves them into the file; smaller stalls commits more often."""
LOG_BYTES = 64_000_000
"""What is left of the log file after it grew larger."""
CHUNKS = (64, 16, 4, 1)
"""Rows of one INSERT. Few sizes, so that every statement stays prepared."""


def connect(
    path: Path, *, synchronous: str = "FULL", patience: float = 5.0, query_only: bool = False
) -> sqlite3.Connection:
    """Open a connection in WAL mode that starts no transaction of its own.

    Args:
        path: the database file; made when missing.
        synchronous: ``FULL`` survives power loss, ``NORMAL`` may lose the last commits then.
        patience: seconds to wait for a lock of a process that does not use our lock files.
        query_only: refuse writes.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if query_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


class BulkInsert:
    """An INSERT of many rows in few statements.

    Every step of a statement gives up Python's interpreter lock and has to win it back from a busy event loop,
    so one statement of 64 rows is far cheaper than 64 statements.

    Args:
        before: the statement up to ``VALUES``.
        columns: how many values a row has.
        after: what follows the rows, for example an ``ON CONFLICT`` clause.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = [(size, f"{before} VALUES {', '.join([row] * size)} {after}") for size in CHUNKS]

    def run(self, connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Insert ``rows``; an error leaves some of them inserted, so the caller rolls back."""
        left = list(rows)
        start = 0
        for size, statement in self._statements:
            while len(left) - start >= size:
                connection.execute(statement, list(chain.from_iterable(left[start : start + size])))
                start += size
