"""Locks of the operating system: they end with the process that holds them, however it ends.

Where the system has no ``flock``, or the folder lies on a file system that refuses it, the write lock falls back
to SQLite's own (polled, so slower between processes), and a dead process is known by its silence alone.
"""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

NEXT, INSIDE = LOCK_FILES = ("next.lock", "write.lock")
"""The two files of the turnstile."""

_held: weakref.WeakSet[LockFile] = weakref.WeakSet()


class LockFile:
    """An exclusive lock on a file, made when missing.

    A forked child does not keep the lock alive: its copy of the file is closed at birth.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        _held.add(self)

    def acquire(self) -> bool:
        """Wait for the lock; False where the system has none."""
        return fcntl is not None and self._lock(fcntl.LOCK_EX) is True

    def try_acquire(self) -> bool | None:
        """Take the lock if it is free; None where the system has none."""
        return None if fcntl is None else self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_free(self) -> bool | None:
        """Whether nobody holds the lock; None where the system has none. Observers do not disturb each other."""
        if fcntl is None:
            return None
        free = self._lock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        if free:
            self.release()
        return free

    def release(self) -> None:
        """Give the lock back, keep the file open."""
        if fcntl is not None and self.fd is not None:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    def write(self, content: bytes) -> None:
        """Write ``content`` at the beginning of the file, if that is possible: the lock holds on a full disk too."""
        if self.fd is not None:
            with suppress(OSError):
                os.lseek(self.fd, 0, os.SEEK_SET)
                os.write(self.fd, content)

    def close(self) -> None:
        """Give the lock back and close the file."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    def _lock(self, how: int) -> bool | None:
        if fcntl is None or self.fd is None:
            return None
        try:
            fcntl.flock(self.fd, how)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True


class Turnstile:
    """A write lock between processes that is handed over fairly.

    ``flock`` alone lets a busy holder take the lock again before a waiting process has woken up. Whoever waits
    here holds the second file, so the last holder has to queue behind it.
    """

    def __init__(self, folder: Path) -> None:
        self._entry = LockFile(folder / NEXT)
        self._inside = LockFile(folder / INSIDE)

    def enter(self) -> None:
        """Wait until it is this process's turn."""
        self._entry.acquire()
        try:
            self._inside.acquire()
            self._inside.write(b"%-10d" % os.getpid())
        finally:
            self._entry.release()

    def name_holder(self) -> str:
        """Who wrote last, for error messages: ``process 4711``."""
        try:
            return f"process {int(self._inside.path.read_text(encoding='ascii'))}"
        except (OSError, ValueError):
            return "another process"

    def leave(self) -> None:
        """Let the next one in."""
        self._inside.release()

    def close(self) -> None:
        """Close both files."""
        self._entry.close()
        self._inside.close()


def _close_in_child() -> None:
    for lock in list(_held):
        fd, lock.fd = lock.fd, None
        if fd is not None:
            os.close(fd)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
