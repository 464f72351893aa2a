"""All ports over one SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from flowcraft_dagster.backends.embedded.connection import connect
from flowcraft_dagster.backends.embedded.coordination import PROBE, EmbeddedCoordinationStore
from flowcraft_dagster.backends.embedded.failures import explain_failure
from flowcraft_dagster.backends.embedded.index import EmbeddedRunIndex
from flowcraft_dagster.backends.embedded.jobs import EmbeddedJobQueue
from flowcraft_dagster.backends.embedded.letters import EmbeddedDeadLetters
from flowcraft_dagster.backends.embedded.locks import LOCK_FILES, Turnstile
from flowcraft_dagster.backends.embedded.presence import Presence
from flowcraft_dagster.backends.embedded.reader import Reader
from flowcraft_dagster.backends.embedded.requests import EmbeddedRequestQueue
from flowcraft_dagster.backends.embedded.schema import check_schema, create_tables
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.state import EmbeddedStateStore
from flowcraft_dagster.backends.embedded.watcher import Watcher
from flowcraft_dagster.backends.embedded.workers import EmbeddedWorkerRegistry
from flowcraft_dagster.backends.embedded.writer import Writer
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.backend import HealthReport
from flowcraft_dagster.ports.clock import Clock

FILE_NAME = "flowcraft.db"
MEMBERS = "members"


class EmbeddedBackend:
    """A ``Backend`` in one folder of this machine, safe for several processes.

    Args:
        home: the folder; made when missing. Its file system must be a local one.
        clock: wall time for leases, letters and requests.
        synchronous: ``FULL`` (default) keeps every acknowledged commit through a power loss; ``NORMAL`` may lose the
            last ones then, but nothing when only processes die.
        partitions: partitions of the job queue when the file is made; later the file decides.
        revoke_seconds: how long a member may finish what is in flight before it loses a partition.
        stale_seconds: silence after which a frozen process loses its partitions.
        patience: seconds after which a write that finds no turn raises StoreUnavailable.

    Example:
        >>> backend = EmbeddedBackend(Path(".flowcraft"), clock)  # doctest: +SKIP
        >>> await backend.open()  # doctest: +SKIP
        >>> await backend.jobs.send([Message("run-1", b"{}")])  # doctest: +SKIP
        >>> await backend.close()  # doctest: +SKIP
    """

    def __init__(
        self,
        home: Path,
        clock: Clock,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        partitions: int = 12,
        revoke_seconds: float = 20.0,
        stale_seconds: float = 10.0,
        patience: float = 10.0,
    ) -> None:
        self.name = "embedded"
        self.home = home
        self.path = home / FILE_NAME
        self._synchronous = synchronous
        self._partitions = partitions
        self._stale_seconds = stale_seconds
        self._patience = patience
        self._turnstile: Turnstile | None = None
        self.session = Session(clock)
        self.state = EmbeddedStateStore(self.session)
        self.index = EmbeddedRunIndex(self.session)
        self.workers = EmbeddedWorkerRegistry(self.session)
        self.jobs = EmbeddedJobQueue(self.session, revoke_seconds)
        self.dead_letters = EmbeddedDeadLetters(self.session)
        self.requests = EmbeddedRequestQueue(self.session)
        self.coordination = EmbeddedCoordinationStore(self.session)

    async def open(self) -> None:
        """Make what is missing and start the writing thread; anew when the file was deleted or replaced meanwhile.

        Raises:
            StorageReadOnly: the folder cannot be written.
            StoreUnavailable: another process holds the file.
            SchemaMismatch: the file is not ours, or a newer release wrote it.
        """
        if self.session.is_open:
            if self.session.reader.has_same_file:
                return
            await self.close()
        await self.create_schema()
        try:
            self._begin()
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise explain_failure(error, self.path) or error from error

    async def close(self) -> None:
        """Store what waits to be written and let go of everything; harmless when not open."""
        await self.session.end()
        if self._turnstile is not None:
            self._turnstile.close()
            self._turnstile = None

    async def create_schema(self) -> list[str]:
        """Make the folder, the file and its tables, as far as they are missing. Raises as ``open`` does."""
        return await asyncio.get_running_loop().run_in_executor(None, self._create)

    async def delete_schema(self) -> None:
        """See ``Backend.delete_schema``; closes the backend. The folder stays."""
        await self.close()
        await asyncio.get_running_loop().run_in_executor(None, self._delete)

    async def check_health(self) -> list[HealthReport]:
        """One report on the file."""
        try:
            if not self.session.is_open:
                return [HealthReport("sqlite", False, f"{self.path} is not open")]
            ((live,), (ended,)) = await self.session.reader.ask_apart(
                lambda connection: connection.execute(
                    "SELECT count(*) FROM heads WHERE finished_at IS NULL UNION ALL SELECT count(*) FROM finished"
                ).fetchall()
            )
            await self.session.write(PROBE, None)
        except FlowcraftError as error:
            return [HealthReport("sqlite", False, f"{error} {error.hint}")]
        size = self.path.stat().st_size / 1e6
        detail = f"SQLite {sqlite3.sqlite_version}, {self.path}, {size:.1f} MB, {live} live and {ended} ended runs"
        return [HealthReport("sqlite", True, detail)]

    def _create(self) -> list[str]:
        made: list[str] = []
        try:
            if not self.home.is_dir():
                self.home.mkdir(parents=True, exist_ok=True)
                made.append(str(self.home))
            if self._find_tables():
                return made  # without the lock, so that a process that hangs on to it keeps nobody from reading
            turnstile = Turnstile(self.home)
            try:
                turnstile.enter()
                if not self._find_tables():
                    with closing(connect(self.path, patience=self._patience)) as connection:
                        create_tables(connection, str(self.path), self._partitions)
                    made.append(str(self.path))
            finally:
                turnstile.leave()
                turnstile.close()
        except (sqlite3.Error, OSError) as error:
            raise explain_failure(error, self.path) or error from error
        return made

    def _delete(self) -> None:
        for path in [*self.home.glob(f"{FILE_NAME}*"), *(self.home / name for name in LOCK_FILES)]:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.home / MEMBERS, ignore_errors=True)

    def _find_tables(self) -> bool:
        # Looked at without the right to write: a foreign file must stay as it is, even its journal mode.
        with closing(connect(self.path, patience=self._patience, query_only=True)) as connection:
            return check_schema(connection, str(self.path))

    def _begin(self) -> None:
        self._turnstile = Turnstile(self.home)
        presence = Presence(self.home / MEMBERS, stale_seconds=self._stale_seconds)
        reader = Reader(self.path)
        writer = Writer(self.path, self._turnstile, self._synchronous, self._patience)
        self.session.begin(writer, reader, Watcher(reader), presence)
