"""Threads for sync node functions.

A thread cannot be killed. One whose attempt timed out is abandoned: it is counted, replaced by a new one, and the
worker process is recycled when there are too many. Threads are daemons so that none keeps a process alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(slots=True, eq=False)
class _Call:
    """One call of a sync function; what becomes of it is said under the lock of the threads.

    Attributes:
        function: user code.
        loop: where it was asked for.
        future: takes what it comes to, in that loop.
        on_begin: see ``SyncThreads.run``.
        has_begun: whether a thread has taken it up.
        is_over: whether user code has returned.
        is_abandoned: whether nobody waits for it any more, although it has begun.
    """

    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    on_begin: Callable[[float], object] | None
    has_begun: bool = False
    is_over: bool = False
    is_abandoned: bool = False

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call something in the loop; when that is closed nobody waits any more."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback, *arguments)


class SyncThreads:
    """Runs sync functions off the event loop.

    Args:
        limit: how many run at a time; further ones wait their turn.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.abandoned = 0
        self._condition = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._idle = 0
        self._alive = 0
        self._closed = False

    async def run(self, function: Callable[[], Any], on_begin: Callable[[float], object] | None = None) -> Any:
        """Call ``function`` in a thread and return what it returns.

        Args:
            function: user code.
            on_begin: called on the event loop once a thread has taken the call up, with the loop's time of it.

        When the waiting task is cancelled (a time-out, a cancelled run) the call goes on unseen and its thread counts
        as abandoned until it returns.
        """
        loop = asyncio.get_running_loop()
        call = _Call(partial(contextvars.copy_context().run, function), loop, loop.create_future(), on_begin)
        with self._condition:
            self._waiting.append(call)
            self._call_thread()
        try:
            return await call.future
        except asyncio.CancelledError:
            with self._condition:
                self._give_up(call)
            raise

    def close(self) -> None:
        """Let idle threads end."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    # With the lock held:

    def _call_thread(self) -> None:
        """See that a thread takes up a call, as far as there may be one more."""
        # One that was called already counts as idle until it has woken up: there must be one for each call.
        if self._idle >= len(self._waiting):
            self._condition.notify()
        elif self._alive < self.limit + self.abandoned:
            self._alive += 1
            threading.Thread(target=self._serve, name="flowcraft-node", daemon=True).start()

    def _give_up(self, call: _Call) -> None:
        if not call.has_begun:
            # Nobody waits for it any more: what has not begun does not begin.
            self._waiting.remove(call)
        elif not call.is_over:
            call.is_abandoned = True
            self.abandoned += 1
            if self._waiting:
                # They were to be done by the thread that is lost now.
                self._call_thread()

    # On the threads:

    def _serve(self) -> None:
        while True:
            with self._condition:
                surplus = self._alive > self.limit + self.abandoned
                while not self._waiting and not self._closed and not surplus:
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                if not self._waiting:
                    self._alive -= 1
                    return
                call = self._waiting.popleft()
                call.has_begun = True
            if call.on_begin is not None:
                call.tell(call.on_begin, call.loop.time())
            outcome, error = None, None
            try:
                outcome = call.function()
            except BaseException as caught:  # noqa: BLE001 - whatever user code raises belongs to its caller
                error = caught
            with self._condition:
                call.is_over = True
                self.abandoned -= call.is_abandoned
            call.tell(_deliver, call.future, outcome, error)
            # An idle thread holds on to nothing of what it has done.
            del call, outcome, error


def _deliver(future: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(outcome)
    elif isinstance(error, (StopIteration, KeyboardInterrupt, SystemExit)):
        # A future cannot carry these, and user code must not end the worker with them.
        future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
    else:
        future.set_exception(error)
