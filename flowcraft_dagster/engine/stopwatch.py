"""How long user code has run: a time-out must not count what the process itself makes it wait for."""

from __future__ import annotations

import asyncio


class Stopwatch:
    """Runs from its making on; stands between :meth:`pause` and :meth:`resume`. Used from one event loop.

    Attributes:
        resumed: done while it runs; made anew by each pause.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since: float | None = self._loop.time()
        self._taken = 0.0
        self.resumed: asyncio.Future[None] = self._loop.create_future()
        self.resumed.set_result(None)

    @property
    def is_running(self) -> bool:
        """Whether time counts now."""
        return self._since is not None

    @property
    def taken(self) -> float:
        """Seconds that count so far."""
        return self._taken + (0.0 if self._since is None else self._loop.time() - self._since)

    def pause(self) -> None:
        """Stop counting."""
        if self._since is not None:
            self._taken = self.taken
            self._since = None
            self.resumed = self._loop.create_future()

    def resume(self, since: float | None = None) -> None:
        """Count again.

        Args:
            since: the loop's time from which on it counts; now when None.
        """
        if self._since is None:
            self._since = self._loop.time() if since is None else since
            self.resumed.set_result(None)
