"""An event loop in virtual time, whose order of callbacks comes from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from flowcraft_dagster.errors import FlowcraftError

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Wall clock time at which every simulation begins, seconds since 1970 UTC."""
MAX_STEPS = 5_000_000


class SimulationStalled(FlowcraftError):
    """Nothing can happen any more, or too much has happened. Fields: reason."""

    template = "the simulation cannot go on: {reason}"


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs callbacks one by one: a random one of those that are ready, or else the next timer, at once.

    Asyncio promises callbacks in the order of their scheduling; code that is right only in that order depends on luck
    once its awaits take real time. This loop takes the luck away. There is one thread: node functions must be async.

    Args:
        dice: chooses; None keeps the order of scheduling.
        max_steps: callbacks before it is taken for an endless loop.

    Attributes:
        complaints: what asyncio reported to the loop's exception handler, such as exceptions nobody retrieved.
    """

    def __init__(self, dice: random.Random | None = None, max_steps: int = MAX_STEPS) -> None:
        self.complaints: list[dict[str, Any]] = []
        self._dice = dice
        self._max_steps = max_steps
        self._now = 0.0
        self._steps = 0
        self._numbers = itertools.count()
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._running = False
        self._closed = False

    # -- time and callbacks --------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See ``asyncio.AbstractEventLoop.call_soon``."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``asyncio.AbstractEventLoop.call_at``."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See ``asyncio.AbstractEventLoop.call_later``."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Refused: a simulation has one thread."""
        raise SimulationStalled("something runs in a thread of its own; node functions must be async here")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by asyncio; a cancelled timer is passed over when its time comes."""

    # -- tasks ---------------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """See ``asyncio.AbstractEventLoop.create_future``."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """See ``asyncio.AbstractEventLoop.create_task``."""
        return asyncio.Task(coro, loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what asyncio complains about."""
        self.complaints.append(context)

    def get_debug(self) -> bool:
        """Never in debug mode: it reads the real clock."""
        return False

    # -- running -------------------------------------------------------------------------------------------------

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]
        """Run until ``future`` is done and return its result.

        Raises:
            SimulationStalled: nothing is left that could ever finish it, or it takes too many steps.
        """
        task: asyncio.Future[T] = asyncio.ensure_future(future, loop=self)
        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._running = True
        try:
            while not task.done():
                self._step()
        finally:
            self._running = False
            asyncio._set_running_loop(previous)
        return task.result()

    def _step(self) -> None:
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        if not self._ready:
            if not self._timers:
                raise SimulationStalled("everything waits for something that nobody will do")
            self._now = self._timers[0][0]
            return
        self._steps += 1
        if self._steps > self._max_steps:
            raise SimulationStalled(f"{self._steps} steps were not enough; it is {self._now:.1f} s")
        if self._dice is None:
            handle = self._ready.pop(0)
        else:
            place = self._dice.randrange(len(self._ready))
            self._ready[place], self._ready[-1] = self._ready[-1], self._ready[place]
            handle = self._ready.pop()
        if not handle.cancelled():
            handle._run()

    def abandon(self) -> None:
        """Cancel everything that is left, after a stall."""
        self._max_steps = self._steps + 100_000
        for _ in range(20):
            rest = asyncio.all_tasks(self)
            if not rest:
                return
            for task in rest:
                task.cancel()
            # What clears up for itself cancels this too.
            with contextlib.suppress(asyncio.CancelledError):
                self.run_until_complete(asyncio.wait(rest, timeout=60.0))

    def is_running(self) -> bool:
        """Whether a callback may be running."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Forget everything that was to happen."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()


class SimulatedClock:
    """A ``Clock`` over a loop's virtual time.

    Args:
        loop: keeps the time.
        ahead_seconds: by how much the wall clock of this machine is wrong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ahead_seconds: float = 0.0) -> None:
        self._loop = loop
        self._ahead = ahead_seconds

    def now(self) -> float:
        """Seconds since 1970 UTC, as this machine has them."""
        return EPOCH + self._ahead + self._loop.time()

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` have passed."""
        await asyncio.sleep(seconds)


def run_simulated(
    main: Callable[[SimulatedClock, random.Random], Coroutine[Any, Any, T]],
    seed: int | str = 0,
    *,
    in_order: bool = False,
    max_steps: int = MAX_STEPS,
) -> T:
    """Run ``main`` in virtual time; what it leaves running is cancelled.

    Args:
        main: gets the clock, and dice of its own.
        seed: decides everything that is left to chance.
        in_order: keep asyncio's order of callbacks instead of a random one.
        max_steps: callbacks before it is taken for an endless loop.

    Raises:
        SimulationStalled: it can never finish, or something failed unseen in a task of its own.
    """
    order = random.Random(f"order {seed}")  # noqa: S311 - a test's dice, not a secret
    loop = SimulatedLoop(None if in_order else order, max_steps)  # type: ignore[abstract]
    try:
        result = loop.run_until_complete(
            _run_and_clear(main(SimulatedClock(loop), random.Random(f"events {seed}")))  # noqa: S311
        )
    except SimulationStalled:
        loop.abandon()
        raise
    finally:
        loop.close()
    if loop.complaints:
        first = loop.complaints[0]
        raise SimulationStalled(f"{first.get('message')}: {first.get('exception')!r}") from first.get("exception")
    return result


async def _run_and_clear(main: Coroutine[Any, Any, T]) -> T:
    try:
        return await main
    finally:
        # A task may need several hints, since what it does to clean up may wait too.
        for _ in range(20):
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if not rest:
                break
            for task in rest:
                task.cancel()
            await asyncio.wait(rest, timeout=60.0)
