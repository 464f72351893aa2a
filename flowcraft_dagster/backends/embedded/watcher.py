"""Noticing that some process has changed the file, at the price of one tiny query every few milliseconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flowcraft_dagster.backends.embedded.reader import Reader
from flowcraft_dagster.errors import FlowcraftError

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.003
IDLE_SECONDS = 0.025
SLOWER = 1.25


class Watcher:
    """Calls its listeners after every change of the file; sleeps while nobody listens.

    ``PRAGMA data_version`` changes when any other connection has committed, also one of this process.

    Args:
        reader: asked for the version.
        busy_seconds: time between two looks right after a change.
        idle_seconds: time between two looks when nothing happens.
    """

    def __init__(self, reader: Reader, busy_seconds: float = BUSY_SECONDS, idle_seconds: float = IDLE_SECONDS) -> None:
        self._reader = reader
        self._busy_seconds = busy_seconds
        self._idle_seconds = idle_seconds
        self._listeners: dict[int, Callable[[], None]] = {}
        self._keys = 0
        self._version = -1
        self._interval = busy_seconds
        self._is_away = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every change.

        Returns:
            A function that ends it.
        """
        self._keys += 1
        key = self._keys
        self._listeners[key] = listener
        if self._timer is None:
            self._interval = self._busy_seconds
            self._timer = self._loop.call_later(self._interval, self._look)

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    def notice(self) -> None:
        """Tell listeners of a change that this process has just made."""
        for listener in list(self._listeners.values()):
            listener()

    def close(self) -> None:
        """Stop looking."""
        self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._listeners:
            return
        try:
            version = self._reader.read("PRAGMA data_version")[0][0]
            self._is_away = False
            if version != self._version:
                self._version = version
                self._interval = self._busy_seconds
                self.notice()
            else:
                self._interval = min(self._interval * SLOWER, self._idle_seconds)
        except FlowcraftError:
            # Said once: it looks many times a second.
            if not self._is_away:
                logger.warning("the embedded store cannot be read; looking again", exc_info=True)
            self._is_away = True
            self._interval = self._idle_seconds
        if self._listeners and self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)
