"""Keeping the write-ahead log short while somebody always reads.

SQLite begins the log anew only in a moment in which nobody reads from it. Listings that follow each other without a
gap leave no such moment, and the log grows until the disk is full.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from flowcraft_dagster.backends.embedded.connection import LOG_BYTES
from flowcraft_dagster.backends.embedded.locks import Turnstile

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""How long writes stand still for the readers of the moment to end; those that begin meanwhile need not be awaited."""
RETRY_SECONDS = 0.005
PAUSE_SECONDS = 10.0
"""Time before the next attempt after a reader outlasted that: a frozen one must not slow writes for good."""


class Checkpointer:
    """Empties the log once it is too long. One writing thread uses it.

    Args:
        path: the database file.
        turnstile: the write lock between processes; no write may add to the log meanwhile.
        connection: the writing connection.
        patience: seconds that its other statements wait for a lock.
    """

    def __init__(self, path: Path, turnstile: Turnstile, connection: sqlite3.Connection, patience: float) -> None:
        self._log = Path(f"{path}-wal")
        self._turnstile = turnstile
        self._connection = connection
        self._patience = patience
        self._not_before = 0.0

    def run(self) -> None:
        """Empty the log if it is too long; call it between transactions. Never raises."""
        if not self._is_long() or time.monotonic() < self._not_before:
            return
        self._turnstile.enter()
        try:
            if self._is_long() and not self._empty():
                self._not_before = time.monotonic() + PAUSE_SECONDS
        finally:
            self._turnstile.leave()

    def _is_long(self) -> bool:
        try:
            return self._log.stat().st_size > LOG_BYTES
        except OSError:
            return False

    def _empty(self) -> bool:
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            # Tried again from the start, for SQLite's own waiting is for a slot among readers, which the next
            # reader takes over: it has seen everything and need not be awaited, but SQLite does not look again.
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                while self._is_refused():
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(RETRY_SECONDS)
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")
        except sqlite3.Error as error:
            logger.warning("the log %s cannot be emptied now: %s", self._log, error)
            return False
        return True

    def _is_refused(self) -> bool:
        ((busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return bool(busy)
