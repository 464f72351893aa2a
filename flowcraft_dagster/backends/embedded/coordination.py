"""Leases in a table, and waiting for runs by watching the file."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Sequence

from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.ports.records import FINAL_STATUSES

logger = logging.getLogger(__name__)

STATUS_SECONDS = 0.1
"""Time between two looks for runs that changed their status without ending."""
STATUS_SECONDS_EACH = 0.0005
"""What every awaited run adds to it."""
CLOCK_SECONDS = 30.0
"""How far the clock must have gone back before leases are given up; more than a write may wait for its turn."""

_LEASED_AT = "SELECT value FROM counters WHERE name = 'leased_at'"
_READ_LEASE = f"SELECT owner, expires_at FROM leases WHERE name = ? AND coalesce(({_LEASED_AT}), 0) <= ?"  # noqa: S608 - constant parts only


class EmbeddedCoordinationStore:
    """A ``CoordinationStore`` over the file.

    Nothing has to be announced to other processes: ends of runs are noted by the commit that ends them, and
    waiters read those notes whenever the file changes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._statuses: dict[str, str] = {}
        self._last_finished = 0
        self._next_look = 0.0
        self._is_away = False
        self._late_look: asyncio.TimerHandle | None = None
        self._stop_listening = _do_nothing

    async def acquire_lease(self, name: str, owner: str, seconds: float) -> bool:
        """See ``CoordinationStore.acquire_lease``; when the store is away the lease is granted."""
        now = self._session.clock.now()
        try:
            rows = self._session.reader.read(_READ_LEASE, (name, now + CLOCK_SECONDS))
            if rows and rows[0][0] != owner and rows[0][1] > now:
                return False
            if rows and rows[0][0] == owner and rows[0][1] > now + 0.75 * seconds:
                return True  # just renewed: no need to write again
            granted = await self._session.write(ACQUIRE_LEASE, (name, owner, now, seconds))
        except FlowcraftError as error:
            # Asked for again and again: said once.
            if not self._is_away:
                logger.warning("leases are granted unseen: %s", error)
            self._is_away = True
            return True
        self._is_away = False
        return granted

    async def release_lease(self, name: str, owner: str) -> None:
        """See ``CoordinationStore.release_lease``."""
        try:
            await self._session.write(RELEASE_LEASE, (name, owner))
        except FlowcraftError as error:
            logger.warning("lease %s is left to expire: %s", name, error)

    async def announce_runs(self, run_ids: Sequence[str]) -> None:
        """See ``CoordinationStore.announce_runs``."""
        for run_id in run_ids:
            self._tell(run_id)

    async def await_run(self, run_id: str, seconds: float) -> bool:
        """See ``CoordinationStore.await_run``; a run that has ended is announced at once."""
        loop = asyncio.get_running_loop()
        try:
            self._begin_listening()
            status = self._read_status(run_id)
        except FlowcraftError as error:
            logger.warning("run %s cannot be watched: %s", run_id, error)
            await asyncio.sleep(min(seconds, 0.25))
            return False
        if status in FINAL_STATUSES:
            self._end_listening()
            return True
        self._statuses.setdefault(run_id, status or "")
        heard: asyncio.Future[bool] = loop.create_future()
        self._waiting.setdefault(run_id, set()).add(heard)
        timer = loop.call_later(seconds, _answer, heard, False)
        try:
            return await heard
        finally:
            timer.cancel()
            self._forget(run_id, heard)

    async def flush(self) -> None:
        """Forget all leases, as a hint store may at any moment."""
        await self._session.write(RELEASE_LEASE, (None, None))

    async def check_health(self) -> str | None:
        """See ``CoordinationStore.check_health``."""
        try:
            self._session.reader.read("SELECT 1")
        except FlowcraftError as error:
            return str(error)
        return None

    def _begin_listening(self) -> None:
        if self._stop_listening is _do_nothing:
            rows = self._session.reader.read("SELECT coalesce(max(number), 0) FROM finished")
            self._last_finished = rows[0][0]
            self._stop_listening = self._session.watcher.listen(self._look)

    def _end_listening(self) -> None:
        if not self._waiting:
            self._stop_listening()
            self._stop_listening = _do_nothing

    def _forget(self, run_id: str, heard: asyncio.Future[bool]) -> None:
        waiting = self._waiting.get(run_id)
        if waiting is not None:
            waiting.discard(heard)
            if not waiting:
                del self._waiting[run_id]
        if run_id not in self._waiting:
            self._statuses.pop(run_id, None)
        self._end_listening()

    def _tell(self, run_id: str) -> None:
        self._statuses.pop(run_id, None)
        for heard in self._waiting.pop(run_id, ()):
            _answer(heard, True)

    def _look(self) -> None:
        """Called after every change of the file."""
        try:
            ended = self._session.reader.read(
                "SELECT f.number, r.run_id FROM finished AS f CROSS JOIN runs AS r ON r.number = f.run "
                "WHERE f.number > ? ORDER BY f.number",
                (self._last_finished,),
            )
            for number, run_id in ended:
                self._last_finished = number
                self._tell(run_id)
            self._look_for_changes()
        except FlowcraftError as error:
            logger.warning("awaited runs cannot be read; looking again: %s", error)

    def _look_for_changes(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._next_look - loop.time()
        if wait > 0:
            # The last change of a burst must be seen even when no other follows.
            if self._late_look is None and self._waiting:
                self._late_look = loop.call_later(wait, self._look_late)
            return
        self._next_look = loop.time() + STATUS_SECONDS + STATUS_SECONDS_EACH * len(self._waiting)
        if self._waiting:
            rows = self._session.reader.read(
                "SELECT r.run_id, h.status FROM json_each(?) AS wanted CROSS JOIN runs AS r "
                "ON r.run_id = wanted.value CROSS JOIN heads AS h ON h.run = r.number",
                (json.dumps(list(self._waiting)),),
            )
            for run_id, status in rows:
                if self._statuses.get(run_id) != status:
                    self._tell(run_id)

    def _look_late(self) -> None:
        self._late_look = None
        if self._session.is_open:
            self._look()

    def _read_status(self, run_id: str) -> str | None:
        rows = self._session.reader.read(
            "SELECT h.status FROM runs AS r CROSS JOIN heads AS h ON h.run = r.number WHERE r.run_id = ?", (run_id,)
        )
        return rows[0][0] if rows else None


def _do_nothing() -> None:
    """Stands in while nobody waits."""


def _answer(heard: asyncio.Future[bool], answer: bool) -> None:
    if not heard.done():
        heard.set_result(answer)


def _note_time(connection: sqlite3.Connection, now: float) -> None:
    """Give all leases up when the clock was set back: that of a dead owner would last as much longer."""
    ((noted,),) = connection.execute(f"SELECT coalesce(({_LEASED_AT}), 0)").fetchall()
    if now < noted - CLOCK_SECONDS:
        logger.warning("the clock went back by %.0f s; leases from before are forgotten", noted - now)
        connection.execute("DELETE FROM leases")
    elif now < noted + 1:
        return
    connection.execute("REPLACE INTO counters VALUES ('leased_at', ?)", (int(now),))


def _acquire_leases(connection: sqlite3.Connection, arguments: Sequence[tuple[str, str, float, float]]) -> list[bool]:
    _note_time(connection, max(now for _, _, now, _ in arguments))
    connection.execute("DELETE FROM leases WHERE expires_at <= ?", (min(now for _, _, now, _ in arguments),))
    return [
        connection.execute(
            "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, "
            "expires_at = excluded.expires_at WHERE owner = excluded.owner OR expires_at <= ?",
            (name, owner, now + seconds, now),
        ).rowcount
        == 1
        for name, owner, now, seconds in arguments
    ]


def _release_leases(connection: sqlite3.Connection, arguments: Sequence[tuple[str | None, str | None]]) -> list[None]:
    for name, owner in arguments:
        if name is None:
            connection.execute("DELETE FROM leases")
        else:
            connection.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
    return [None] * len(arguments)


def _probe(connection: sqlite3.Connection, arguments: Sequence[None]) -> list[None]:
    """Write something that is gone again at once: shows that the file can be written."""
    connection.execute("INSERT OR REPLACE INTO leases VALUES ('probe', 'probe', 0)")
    connection.execute("DELETE FROM leases WHERE name = 'probe'")
    return [None] * len(arguments)


PROBE = WriteKind(69, _probe)
ACQUIRE_LEASE = WriteKind(70, _acquire_leases)
RELEASE_LEASE = WriteKind(71, _release_leases)
