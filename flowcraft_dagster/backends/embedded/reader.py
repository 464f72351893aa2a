"""Reading beside the writer: WAL readers see the last commit and wait for nobody.

Point reads take microseconds and are done where they are asked for; listings and large runs go to a thread, so that
they hold up no coroutine.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from flowcraft_dagster.backends.embedded.connection import connect
from flowcraft_dagster.backends.embedded.failures import STORE, explain_failure
from flowcraft_dagster.backends.embedded.identity import FileIdentity
from flowcraft_dagster.errors import StoreUnavailable

R = TypeVar("R")


class Reader:
    """The reading connections of one process.

    Args:
        path: the database file; it has our tables.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here: sqlite3.Connection | None = connect(path, patience=1.0, query_only=True)
        self._there: sqlite3.Connection = connect(path, query_only=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="flowcraft-reader")
        self._identity = FileIdentity(path)

    @property
    def has_same_file(self) -> bool:
        """Whether the path still leads to the file that is open."""
        return self._identity.is_same

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a short query, at once.

        Raises:
            InfrastructureError: the storage does not work.
        """
        return self.ask(lambda connection: connection.execute(sql, values).fetchall())

    def ask(self, question: Callable[[sqlite3.Connection], R]) -> R:
        """Run a short function over the connection of the event loop. Raises as ``read`` does."""
        if self._here is None:
            raise StoreUnavailable("the backend is not open", store=STORE)
        return self._guard(question, self._here)

    async def ask_apart(self, question: Callable[[sqlite3.Connection], R]) -> R:
        """Run a function that may take a while over the connection of the reading thread. Raises as ``read`` does.

        All its statements see the file as it stood at one moment: a run that ends meanwhile is not met twice.
        """
        if self._here is None:
            raise StoreUnavailable("the backend is not open", store=STORE)
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._guard, lambda connection: _ask_at_one_moment(connection, question), self._there
        )

    async def close(self) -> None:
        """Finish what is being read and close both connections."""
        here, self._here = self._here, None
        if here is not None:
            here.close()
            await asyncio.get_running_loop().run_in_executor(self._pool, self._there.close)
            self._pool.shutdown()

    def _guard(self, question: Callable[[sqlite3.Connection], R], connection: sqlite3.Connection) -> R:
        gone = self._identity.find_failure()
        if gone is not None:
            raise gone
        try:
            return question(connection)
        except sqlite3.Error as error:
            failure = explain_failure(error, self._path)
            if failure is None:
                raise
            raise failure from error


def _ask_at_one_moment(connection: sqlite3.Connection, question: Callable[[sqlite3.Connection], R]) -> R:
    connection.execute("BEGIN")
    try:
        return question(connection)
    finally:
        # An error of the storage may have ended it already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
