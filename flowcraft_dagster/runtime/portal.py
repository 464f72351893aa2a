"""An event loop in a thread, for callers without one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from flowcraft_dagster.errors import FlowcraftError

T = TypeVar("T")

END_SECONDS = 5.0
"""What a call may take to end once it is cancelled."""


class Portal:
    """Runs coroutines from sync code. The thread is a daemon and starts with the first call.

    A forked child has no thread of its parent: it is told so, where it would wait for ever.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the portal's loop and return its result.

        An exception that interrupts the wait (Ctrl-C, a cancelled Dagster run) cancels the work and goes on.

        Raises:
            FlowcraftError: the portal is that of the process that this one was forked from.
        """
        future = self.begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start ``work`` in the portal's loop, and wait for nothing. Raises as ``call`` does."""
        if self.is_inherited:
            work.close()
            raise FlowcraftError(
                "this was used before the process was forked, and its thread and connections stayed with the parent",
                advice="Make a client after the fork, or close it before.",
            )
        return asyncio.run_coroutine_threadsafe(work, self._start())

    @property
    def is_inherited(self) -> bool:
        """Whether what runs belongs to the process that this one was forked from."""
        return self._loop is not None and self._pid != os.getpid()

    def close(self) -> None:
        """End what runs, so that nobody waits for it for ever, and stop the loop.

        The portal may be used again and starts anew. An inherited one is left alone: closing the loop here would
        make the parent's deaf.
        """
        if self.is_inherited:
            return
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            # It has ended where something raised SystemExit in it.
            if thread.is_alive():
                asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
                loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._pid = os.getpid()
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
