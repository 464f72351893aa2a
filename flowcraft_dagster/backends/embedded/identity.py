"""Knowing that the file was deleted or replaced while it was open."""

from __future__ import annotations

from pathlib import Path

from flowcraft_dagster.backends.embedded.failures import STORE
from flowcraft_dagster.errors import StoreUnavailable


class FileIdentity:
    """Which file a path led to when it was opened.

    The operating system goes on with a file that was deleted, and so does SQLite: everything would look well, and
    nobody would ever see what is written there.

    Args:
        path: an existing file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._look()

    @property
    def is_same(self) -> bool:
        """Whether the path still leads to that file."""
        return self._look() == self._known

    def find_failure(self) -> StoreUnavailable | None:
        """The error to raise when it does not."""
        if self.is_same:
            return None
        reason = f"{self._path} was deleted or replaced while it was open; workers over it must be started again"
        return StoreUnavailable(reason, store=STORE)

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
