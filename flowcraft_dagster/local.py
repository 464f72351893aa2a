"""Runs in one process and in memory: the same worker, commit and decisions, over the memory backend."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import threading
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from flowcraft_dagster.errors import WaitTimeout
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import AWAITING, FINAL_STATUSES
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.runtime.waits import ANSWERABLE
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

if TYPE_CHECKING:
    from flowcraft_dagster.app import Flowcraft

T = TypeVar("T")


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in a new event loop; the first Ctrl-C cancels it, as ``asyncio.run`` does from Python 3.11 on.

    Before, Ctrl-C is raised wherever the program is: in the code of a node it would be an error of that node.

    Raises:
        KeyboardInterrupt: it was interrupted. A second Ctrl-C raises it at once, also in a node that holds the loop.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if sys.version_info >= (3, 11) or not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(work)
    presses = 0

    async def guard() -> T:
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal presses
            presses += 1
            if presses > 1:
                raise KeyboardInterrupt
            task.cancel()
            # The loop may sleep, and knows nothing of what a signal has done.
            loop.call_soon_threadsafe(lambda: None)

        signal.signal(signal.SIGINT, interrupt)
        try:
            return await task
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        return asyncio.run(guard())
    except asyncio.CancelledError:
        if presses:
            raise KeyboardInterrupt from None
        raise


class LocalRuntime:
    """A worker and a client in this event loop. Use as an async context manager.

    Args:
        app: blueprints and nodes.
        options: limits and intervals.
        clock: time; the machine's when None.
        dice: randomness; the machine's when None.
    """

    def __init__(
        self,
        app: Flowcraft,
        options: RuntimeOptions | None = None,
        *,
        clock: Clock | None = None,
        dice: random.Random | None = None,
    ) -> None:
        clock = clock or SystemClock()
        settings = Settings(backend="memory", options=options or RuntimeOptions(timer_seconds=0.01))
        self._app = app
        self._backend = make_backend(settings, clock)
        self._clock = clock
        self.client = app.async_client(settings, backend=self._backend, clock=clock, dice=dice)
        self.worker = app.worker(settings, backend=self._backend, clock=clock, dice=dice, slot="local")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalRuntime:
        await self._backend.open()
        self._task = asyncio.ensure_future(self.worker.run())
        ready = asyncio.ensure_future(self.worker.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        await self._look_at_worker()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What is left of the runs ends with this object: there is nothing to wait for.
        self.worker.stop(drain_seconds=0.0)
        if self._task is not None:
            await self._task
        await self._backend.close()

    async def _look_at_worker(self) -> None:
        """Raise what the worker has ended by: nobody would execute anything any more."""
        if self._task is not None and self._task.done():
            await self._task

    async def wait_for_pause(self, run_id: str, timeout: float | None) -> None:
        """Return when the run has ended or waits for an answer; sleeps and delays are waited for.

        Raises:
            WaitTimeout: it took longer than ``timeout`` seconds.
            WorkerFailed: nobody executes it any more.
            NodeNotRegistered: the app lacks a node kind that the run has come to.
        """
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            header = await self.client.status(run_id)
            if header.status in FINAL_STATUSES:
                return
            if header.status == AWAITING:
                waits = await self.client.waiting(run_id)
                if waits and all(wait.kind in ANSWERABLE for wait in waits):
                    return
            await self._look_at_worker()
            if self.worker.missing_kinds:
                raise self._app.nodes.miss(next(iter(self.worker.missing_kinds)))
            left = 0.25 if deadline is None else min(0.25, deadline - self._clock.monotonic())
            if left <= 0:
                raise WaitTimeout(run_id=run_id, status=header.status, timeout_seconds=timeout)
            await self._backend.coordination.await_run(run_id, left)
