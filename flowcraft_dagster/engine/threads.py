"""Threads for sync node functions.

A thread cannot be killed. One whose attempt timed out is abandoned: it is counted, replaced by a new one, and the
worker process is recycled when there are too many. Threads are daemons so that none keeps a process alive.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class SyncThreads:
    """Runs sync functions off the event loop.

    Args:
        limit: how many run at a time; further ones wait their turn.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.abandoned = 0
        self._condition = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._idle = 0
        self._alive = 0
        self._closed = False
        self._left: set[asyncio.Future[Any]] = set()

    async def run(self, function: Callable[[], Any], on_begin: Callable[[float], object] | None = None) -> Any:
        """Call ``function`` in a thread and return what it returns.

        Args:
            function: user code.
            on_begin: called on the event loop once a thread has taken the call up, with the loop's time of it.

        When the waiting task is cancelled (a time-out, a cancelled run) the call goes on unseen and its thread counts
        as abandoned until it returns.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        call = contextvars.copy_context().run
        running = threading.Event()
        finished = threading.Event()

        def work() -> Any:
            running.set()
            if on_begin is not None and not loop.is_closed():
                loop.call_soon_threadsafe(on_begin, loop.time())
            try:
                return call(function)
            finally:
                finished.set()
                self._restore(future)

        with self._condition:
            self._jobs.append((work, loop, future))
            self._call_thread()
        try:
            return await future
        except asyncio.CancelledError:
            with self._condition:
                # Nobody waits for it any more: what has not begun does not begin.
                self._jobs = deque(job for job in self._jobs if job[2] is not future)
                if running.is_set() and not finished.is_set():
                    self.abandoned += 1
                    self._left.add(future)
                    if self._jobs:
                        # They were to be done by the thread that is lost now.
                        self._call_thread()
            raise

    def close(self) -> None:
        """Let idle threads end."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _call_thread(self) -> None:
        """See that a thread takes up a job, as far as there may be one more; with the lock held."""
        # One that was called already counts as idle until it has woken up: there must be one for each job.
        if self._idle >= len(self._jobs):
            self._condition.notify()
        elif self._alive < self.limit + self.abandoned:
            self._alive += 1
            threading.Thread(target=self._serve, name="flowcraft-node", daemon=True).start()

    def _restore(self, future: asyncio.Future[Any]) -> None:
        with self._condition:
            if future in self._left:
                self._left.discard(future)
                self.abandoned -= 1

    def _serve(self) -> None:
        while True:
            with self._condition:
                surplus = self._alive > self.limit + self.abandoned
                while not self._jobs and not self._closed and not surplus:
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                if not self._jobs:
                    self._alive -= 1
                    return
                work, loop, future = self._jobs.popleft()
            try:
                outcome, error = work(), None
            except BaseException as caught:  # noqa: BLE001 - whatever user code raises belongs to its caller
                outcome, error = None, caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, future, outcome, error)


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
