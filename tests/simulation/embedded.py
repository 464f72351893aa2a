"""The embedded backend in virtual time: its real tables, statements and consumers, without threads and files.

One SQLite database in memory stands for the file. What threads, lock files and heartbeats do for real processes is
done here at once: a group of writes is one transaction, a killed process is known to be dead, and a frozen one is
silent after a while.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.consumer import EmbeddedJobConsumer
from flowcraft_dagster.backends.embedded.jobs import EmbeddedJobQueue
from flowcraft_dagster.backends.embedded.schema import create_tables
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import Write, WriteKind, Writer
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.testing.simulation import Connection

A = TypeVar("A")
R = TypeVar("R")
STALE_SECONDS = 10.0


class SharedFile:
    """The database and who is alive, as all processes see them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create_tables(self.connection, "memory", 12)
        self.connection.execute("UPDATE meta SET value = 'topic' WHERE name = 'requests_topic_id'")
        self.holders: dict[str, Connection | None] = {}
        self.watchers: list[SimulatedWatcher] = []

    def close(self) -> None:
        """Forget everything. From Python 3.13 on, one that is only dropped is a warning."""
        self.connection.close()

    def open_process(self, connection: Connection | None) -> SimulatedEmbeddedBackend:
        """The backend as one process has it; without a connection that of a process that never dies."""
        return SimulatedEmbeddedBackend(self, connection)

    def notice(self) -> None:
        """Tell everybody that listens of a change."""
        for watcher in self.watchers:
            watcher.notice_soon()


class SameFile:
    """The file is never deleted."""

    is_same = True

    def find_failure(self) -> None:
        return None


class SimulatedWriter(Writer):
    """Groups writes as the real one does; the thread is a callback."""

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._path = Path("memory")
        self._connection = file.connection
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Write] = deque()
        self._is_due = False
        self._identity: Any = SameFile()

    def submit(self, kind: WriteKind[A, R], argument: A) -> asyncio.Future[R]:
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting.append(Write(kind, argument, future, self._loop.time()))
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._write_waiting)
        return future

    def _write_waiting(self) -> None:
        self._is_due = False
        group = self._take_group()
        results = self._write_group(group) if group else []
        for write, result in zip(group, results, strict=True):
            if write.future.done():
                continue
            if isinstance(result, Exception):
                write.future.set_exception(result)
            else:
                write.future.set_result(result)
        self._file.notice()

    async def close(self) -> None: ...


class SimulatedReader:
    """Reads at once what is committed."""

    has_same_file = True

    def __init__(self, file: SharedFile) -> None:
        self._connection = file.connection

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def ask(self, question: Callable[[sqlite3.Connection], R]) -> R:
        return question(self._connection)

    async def ask_apart(self, question: Callable[[sqlite3.Connection], R]) -> R:
        await asyncio.sleep(0)
        return question(self._connection)

    async def close(self) -> None: ...


class SimulatedWatcher:
    """Tells of changes a moment later."""

    def __init__(self, file: SharedFile) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._keys = 0
        self._is_due = False
        self._loop = asyncio.get_running_loop()
        file.watchers.append(self)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._keys += 1
        key = self._keys
        self._listeners[key] = listener
        self.notice_soon()

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    def notice_soon(self) -> None:
        if self._listeners and not self._is_due:
            self._is_due = True
            self._loop.call_later(0.003, self.notice)

    def notice(self) -> None:
        self._is_due = False
        for listener in list(self._listeners.values()):
            listener()

    def close(self) -> None:
        self._listeners.clear()


class SimulatedPresence:
    """Lock files and heartbeats of one process."""

    def __init__(self, file: SharedFile, connection: Connection | None) -> None:
        self._file = file
        self._connection = connection

    def hold(self, name: str) -> None:
        self._file.holders[name] = self._connection

    def leave(self, name: str, *, forget: bool = True) -> None:
        if self._file.holders.get(name) is self._connection:
            del self._file.holders[name]

    def forget(self, name: str) -> None:
        self._file.holders.pop(name, None)

    def has_ended(self, name: str) -> bool:
        holder = self._file.holders.get(name)
        return holder is not None and holder.is_dead

    def is_silent(self, name: str) -> bool:
        if name not in self._file.holders:
            return True
        holder = self._file.holders[name]
        if holder is None or holder is self._connection:
            return False
        return holder.is_dead or holder.frozen_seconds > STALE_SECONDS

    def close(self) -> None: ...


class SimulatedConsumer(EmbeddedJobConsumer):
    """A consumer of a process that may be frozen: its loop does nothing meanwhile."""

    def __init__(self, connection: Connection | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._process = connection

    async def _regroup(self) -> None:
        if self._process is not None:
            await self._process.await_thaw()
        await super()._regroup()


class SimulatedJobQueue(EmbeddedJobQueue):
    """Names its members by what the seed decides."""

    def __init__(self, session: Session, connection: Connection | None) -> None:
        super().__init__(session, 5.0)
        self._process = connection

    def open_consumer(self, slot: str, worker_id: str) -> EmbeddedJobConsumer:
        name = f"{slot}/{worker_id.rpartition('-')[2]}"
        return SimulatedConsumer(self._process, self._session, name, slot, worker_id, 5.0)


class SimulatedEmbeddedBackend(EmbeddedBackend):
    """All ports over the shared file, for one process."""

    def __init__(self, file: SharedFile, connection: Connection | None) -> None:
        super().__init__(Path("memory"), file.clock)
        parts: Any = (
            SimulatedWriter(file),
            SimulatedReader(file),
            SimulatedWatcher(file),
            SimulatedPresence(file, connection),
        )
        self.session.begin(*parts)
        self.jobs = SimulatedJobQueue(self.session, connection)

    async def open(self) -> None: ...

    async def close(self) -> None: ...
