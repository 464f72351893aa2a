"""Announcements of runs, put together: while one is on its way, those that follow wait for it and leave as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

RUNS_TOGETHER = 500
"""Ids in one message: about 20 KB."""

Publish = Callable[[Sequence[str]], Awaitable[None]]
"""Sends one message; what goes wrong is its own affair."""


class Announcer:
    """Announces runs with as few messages as the server's pace allows.

    A worker under load ends hundreds of runs a second, and a message for each takes a tenth of its time. An idle
    worker announces at once.

    Args:
        publish: sends one message.

    Example:
        >>> announcer = Announcer(publish)  # doctest: +SKIP
        >>> await announcer.announce(["run-1"])  # doctest: +SKIP
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: list[tuple[Sequence[str], asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def announce(self, run_ids: Sequence[str]) -> None:
        """Returns when a message with these runs was sent, or could not be."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((run_ids, sent))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await sent

    async def close(self) -> None:
        """Give up what was not sent."""
        sending = self._sending
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if self._sending is sending:
                # Cancelled before it began, it could let nobody go.
                self._let_go()

    async def _send(self) -> None:
        taken: list[tuple[Sequence[str], asyncio.Future[None]]] = []
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                run_ids = [run_id for some, _ in taken for run_id in some]
                for start in range(0, len(run_ids), RUNS_TOGETHER):
                    await self._publish(run_ids[start : start + RUNS_TOGETHER])
                _release(taken)
        finally:
            # Only when this task was cancelled: nobody is to wait for what will never be sent.
            _release(taken)
            self._let_go()

    def _let_go(self) -> None:
        waiting, self._waiting, self._sending = self._waiting, [], None
        _release(waiting)


def _release(entries: Sequence[tuple[Sequence[str], asyncio.Future[None]]]) -> None:
    for _, sent in entries:
        if not sent.done():
            sent.set_result(None)
