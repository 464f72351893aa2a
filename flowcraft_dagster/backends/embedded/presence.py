"""Who is alive: a locked file for each member and worker, and a heartbeat in it.

The lock ends with the process, so a killed one is known at once. A stopped one (SIGSTOP) keeps its lock, but its
heartbeat stands still. Observers time the silence with their own monotonic clock; clocks are never compared.
"""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

from flowcraft_dagster.backends.embedded.failures import explain_failure
from flowcraft_dagster.backends.embedded.locks import LockFile

KEPT_SECONDS = 86_400.0
"""How long the file of a dead process is kept as the proof of its death."""


class Presence:
    """The presence files of one folder, as one process holds and sees them.

    Args:
        folder: made when missing.
        beat_seconds: time between two heartbeats.
        stale_seconds: silence after which a member counts as dead although its lock is held.
    """

    def __init__(self, folder: Path, beat_seconds: float = 1.0, stale_seconds: float = 10.0) -> None:
        self._folder = folder
        self._beat_seconds = beat_seconds
        self._stale_seconds = stale_seconds
        self._held: dict[str, LockFile] = {}
        # A closed descriptor may name another file at once, so no heartbeat may be under way then.
        self._mutex = threading.Lock()
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def hold(self, name: str) -> None:
        """Be alive under ``name`` until ``leave`` or the end of the process.

        Raises:
            StorageReadOnly: the folder cannot be written.
        """
        if name in self._held:
            return
        path = self._find_file(name)
        try:
            lock = LockFile(path)
        except OSError as error:
            raise explain_failure(error, path) or error from error
        lock.try_acquire()
        with self._mutex:
            self._held[name] = lock
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="flowcraft-presence", daemon=True)
            self._thread.start()

    def leave(self, name: str, *, forget: bool = True) -> None:
        """Be no longer alive under ``name``; with ``forget`` the proof of it goes too."""
        with self._mutex:
            lock = self._held.pop(name, None)
            if lock is not None:
                if forget:
                    lock.path.unlink(missing_ok=True)
                lock.close()

    def forget(self, name: str) -> None:
        """Remove what is left of a dead one."""
        self._seen.pop(name, None)
        self._find_file(name).unlink(missing_ok=True)

    def has_ended(self, name: str) -> bool:
        """Whether the process that held ``name`` has ended; False when nothing is known of it."""
        path = self._find_file(name)
        return name not in self._held and path.exists() and self._is_free(path)

    def is_silent(self, name: str) -> bool:
        """Whether nothing is to be expected of the holder of ``name``: it has ended, is frozen, or left no trace."""
        if name in self._held:
            return False
        path = self._find_file(name)
        try:
            beat = path.read_bytes()
        except FileNotFoundError:
            return True
        if self._is_free(path):
            return True
        now = time.monotonic()
        last = self._seen.get(name)
        if last is None or last[0] != beat:
            self._seen[name] = (beat, now)
            return False
        # A heartbeat that was never written (a full disk) says nothing.
        return bool(beat) and now - last[1] > self._stale_seconds

    def close(self) -> None:
        """Let go of all names, as the end of the process would."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for name in list(self._held):
            self.leave(name, forget=False)

    def _find_file(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}.lock"

    def _is_free(self, path: Path) -> bool:
        try:
            lock = LockFile(path)
        except OSError:
            return False
        try:
            return lock.is_free() is True
        finally:
            lock.close()

    def _beat(self) -> None:
        while not self._stop.is_set():
            self._beats += 1
            with self._mutex:
                for lock in self._held.values():
                    lock.write(b"%016d" % self._beats)
            self._stop.wait(self._beat_seconds)

    def _sweep(self) -> None:
        limit = time.time() - KEPT_SECONDS
        for path in self._folder.glob("*.lock"):
            try:
                if path.stat().st_mtime < limit and self._is_free(path):
                    path.unlink(missing_ok=True)
            except OSError:
                continue
