"""One thread that writes: what many coroutines ask for at once goes into one transaction.

A caller hands over a kind of write and its argument and gets a future. While one transaction is being made
durable, the next group gathers; an idle writer starts at once. Within a group, writes are done kind by kind, each
kind in few statements: callers that wait at the same time have no order among them.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from flowcraft_dagster.backends.embedded.checkpoint import Checkpointer
from flowcraft_dagster.backends.embedded.connection import connect
from flowcraft_dagster.backends.embedded.failures import STORE, explain_failure
from flowcraft_dagster.backends.embedded.identity import FileIdentity
from flowcraft_dagster.backends.embedded.locks import Turnstile
from flowcraft_dagster.errors import StoreUnavailable

logger = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")

GROUP_LIMIT = 2000
"""Writes of one transaction at most, so that other processes get their turn."""


@dataclass(frozen=True, slots=True, eq=False)
class WriteKind(Generic[A, R]):
    """A way of writing.

    Attributes:
        rank: kinds of lower rank come first within a group.
        run: takes the connection, inside a transaction, and the arguments of all writes of this kind in the group;
            returns their results in order.
    """

    rank: int
    run: Callable[[sqlite3.Connection, Sequence[A]], Sequence[R]]


@dataclass(slots=True, eq=False)
class Write:
    """A write that waits for its turn."""

    kind: WriteKind[Any, Any]
    argument: Any
    future: asyncio.Future[Any]
    asked_at: float


class Writer:
    """The writing thread of one process.

    Args:
        path: the database file; it has our tables.
        turnstile: the write lock between processes.
        synchronous: ``FULL`` or ``NORMAL``.
        patience: seconds after which a write that found no turn fails with StoreUnavailable.
    """

    def __init__(self, path: Path, turnstile: Turnstile, synchronous: str, patience: float) -> None:
        self._path = path
        self._turnstile = turnstile
        self._patience = patience
        self._connection: sqlite3.Connection = connect(path, synchronous=synchronous, patience=patience)
        self._checkpointer = Checkpointer(path, turnstile, self._connection, patience)
        self._identity = FileIdentity(path)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Write] = deque()
        self._signalled = False
        self._closing = False
        self._watching: asyncio.TimerHandle | None = None
        self._wake = threading.Lock()
        self._wake.acquire()
        self._thread = threading.Thread(target=self._work, name="flowcraft-writer", daemon=True)
        self._thread.start()

    def submit(self, kind: WriteKind[A, R], argument: A) -> asyncio.Future[R]:
        """Ask for a write; call it on the event loop.

        Returns:
            The result, once it is durable. Fails with an InfrastructureError when the storage does not work.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        if self._closing:
            future.set_exception(StoreUnavailable("the backend is closed", store=STORE))
            return future
        self._waiting.append(Write(kind, argument, future, self._loop.time()))
        if not self._signalled:
            self._signalled = True
            # At the end of this turn of the loop, so that coroutines woken together share a transaction.
            self._loop.call_soon(self._signal)
            if self._watching is None:
                self._watching = self._loop.call_later(self._patience, self._refuse_late)
        return future

    @property
    def connection(self) -> sqlite3.Connection:
        """The writing connection; tests set its limits, while nothing is being written."""
        return self._connection

    async def close(self) -> None:
        """Write what waits, then stop the thread."""
        if self._closing:
            return
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
        self._signal()
        # A frozen process may hold the write lock for as long as it likes; the thread is a daemon then.
        await self._loop.run_in_executor(None, self._thread.join, self._patience)
        if not self._thread.is_alive():
            self._connection.close()
        for write in list(self._waiting):
            if not write.future.done():
                write.future.set_exception(StoreUnavailable("the backend was closed", store=STORE))

    def _signal(self) -> None:
        self._signalled = False
        if self._wake.locked():
            self._wake.release()

    def _refuse_late(self) -> None:
        """Fail writes that found no turn: the process that holds the lock hangs, or is stopped."""
        self._watching = None
        now = self._loop.time()
        for write in list(self._waiting):
            if now - write.asked_at >= self._patience and not write.future.done():
                holder = self._turnstile.name_holder()
                reason = f"{holder} has held the write lock of {self._path} for {self._patience:g} s"
                write.future.set_exception(StoreUnavailable(reason, store=STORE))
        if self._waiting and not self._closing:
            self._watching = self._loop.call_later(self._patience / 4, self._refuse_late)

    def _work(self) -> None:
        while True:
            self._wake.acquire()
            while self._waiting:
                # The group is taken only after the lock: what is asked for while waiting comes along.
                self._turnstile.enter()
                try:
                    group = self._take_group()
                    results = self._write_group(group) if group else []
                finally:
                    self._turnstile.leave()
                try:
                    self._loop.call_soon_threadsafe(_deliver, group, results)
                except RuntimeError:  # the loop is closed, nobody waits any more
                    return
                self._checkpointer.run()
            if self._closing:
                return

    def _take_group(self) -> list[Write]:
        count = min(len(self._waiting), GROUP_LIMIT)
        group = [self._waiting.popleft() for _ in range(count)]
        return [write for write in group if not write.future.done()]

    def _write_group(self, group: list[Write]) -> list[Any]:
        gone = self._identity.find_failure()
        if gone is not None:
            return [copy.copy(gone) for _ in group]
        try:
            return self._transact(group, _run_together)
        except Exception as error:  # noqa: BLE001 - every failure is handed to those who wait
            self._roll_back()
            failure = explain_failure(error, self._path)
            if failure is not None:
                return [copy.copy(failure) for _ in group]
            if len(group) == 1:
                return [error]
        # One of them is bad: run each behind a savepoint, so that it spoils no other.
        try:
            return self._transact(group, _run_apart)
        except Exception as error:  # noqa: BLE001 - see above
            self._roll_back()
            failure = explain_failure(error, self._path)
            return [copy.copy(failure or error) for _ in group]

    def _transact(self, group: list[Write], run: Callable[[sqlite3.Connection, list[Write]], list[Any]]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        results = run(self._connection, group)
        self._connection.execute("COMMIT")
        return results

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("rolling back failed; SQLite does so itself when the connection is opened again")


def _run_together(connection: sqlite3.Connection, group: list[Write]) -> list[Any]:
    by_kind: dict[WriteKind[Any, Any], list[int]] = {}
    for place, write in enumerate(group):
        by_kind.setdefault(write.kind, []).append(place)
    results: list[Any] = [None] * len(group)
    for kind in sorted(by_kind, key=lambda kind: kind.rank):
        places = by_kind[kind]
        answers = kind.run(connection, [group[place].argument for place in places])
        for place, result in zip(places, answers, strict=True):
            results[place] = result
    return results


def _run_apart(connection: sqlite3.Connection, group: list[Write]) -> list[Any]:
    results: list[Any] = [None] * len(group)
    for place in sorted(range(len(group)), key=lambda place: group[place].kind.rank):
        write = group[place]
        connection.execute("SAVEPOINT one")
        try:
            results[place] = write.kind.run(connection, [write.argument])[0]
        except Exception as error:
            if explain_failure(error, Path()) is not None:
                raise
            connection.execute("ROLLBACK TO one")
            results[place] = error
        connection.execute("RELEASE one")
    return results


def _deliver(group: list[Write], results: list[Any]) -> None:
    for write, result in zip(group, results, strict=True):
        if write.future.done():
            continue
        if isinstance(result, Exception):
            write.future.set_exception(result)
        else:
            write.future.set_result(result)
