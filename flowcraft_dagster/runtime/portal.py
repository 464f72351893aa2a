"""An event loop in a thread, for callers without one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

END_SECONDS = 5.0
"""What a call may take to end once it is cancelled."""


class Portal:
    """Runs coroutines from sync code. The thread is a daemon and starts with the first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the portal's loop and return its result.

        An exception that interrupts the wait (Ctrl-C, a cancelled Dagster run) cancels the work and goes on.
        """
        future = self.begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start ``work`` in the portal's loop, and wait for nothing."""
        return asyncio.run_coroutine_threadsafe(work, self._start())

    def close(self) -> None:
        """End what runs, so that nobody waits for it for ever, and stop the loop.

        The portal may be used again and starts anew.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            # In a process that was forked off the thread is none.
            if thread.is_alive():
                asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
                loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="flowcraft-portal", daemon=True
                )
                self._thread.start()
            return self._loop


async def _end_all() -> None:
    """Cancel every other task of the loop, and wait until they have ended."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=END_SECONDS)
