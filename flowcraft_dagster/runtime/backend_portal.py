"""A backend for sync code: in an event loop of its own, opened with the first call and looked after when it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.left_calls import LeftCalls
from flowcraft_dagster.runtime.portal import Portal

T = TypeVar("T")


class BackendPortal:
    """Runs coroutines over a backend. May be used from several threads.

    Args:
        backend: not open yet.

    Attributes:
        backend: use it only in coroutines that are given to :meth:`call`.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._portal = Portal()
        self._calls = LeftCalls(lambda make: self._portal.begin(self._noted(make)))
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._is_ready = False
        self._was_opened = False
        self._is_used = False

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine with the backend open. Raises what opening raises, and what the coroutine does."""
        self._is_used = True
        return self._portal.call(self._with_backend(work))

    def call_within(
        self, seconds: float, name: str, question: Hashable, make: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """The same for a caller that must not be held up: what takes longer goes on, and the next one takes it up.

        Args:
            seconds: how long to wait.
            name: of who asks and for what; part of the error.
            question: everything the answer depends on.
            make: makes a coroutine that only reads.

        Raises:
            InfrastructureError: there is no answer yet.
        """
        self._is_used = True
        return self._calls.call(name, question, make, seconds)

    def call_as_it_is(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine whether the backend is open or not: for looking at what keeps it from opening."""
        self._is_used = True
        return self._portal.call(work)

    def open(self, seconds: float | None = None) -> None:
        """Open the backend, unless it is open. Raises InfrastructureError, SchemaMismatch or SettingsError.

        Args:
            seconds: how long to wait; opening goes on meanwhile, and the next call finds it open. None for the end.
        """
        if seconds is None:
            self.call(_nothing())
        else:
            self.call_within(seconds, "the state store", None, _nothing)

    def close(self) -> None:
        """Let go of the backend; a later call opens it again. Nothing in a forked child: it is the parent's."""
        if self._is_used and not self._portal.is_inherited:
            self._is_used = False
            self._calls.cancel()
            self._portal.call(self._close())
        self._portal.close()

    async def _with_backend(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_ready:
            try:
                await self._open()
            except BaseException:
                work.close()
                raise
        try:
            return await work
        except InfrastructureError:
            # The next call opens it again, which is nothing where all is well and mends what was lost elsewhere.
            self._is_ready = False
            raise

    async def _noted(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("runs in a task only")
        self._unfinished.add(task)
        try:
            return await self._with_backend(make())
        finally:
            self._unfinished.discard(task)

    async def _open(self) -> None:
        # Callers that come together wait for one opening: a second one beside it would leave connections behind.
        if self._opening is None:
            self._was_opened = True
            self._opening = asyncio.ensure_future(self.backend.open())
            self._opening.add_done_callback(self._note_opened)
        await asyncio.shield(self._opening)

    def _note_opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        self._is_ready = not opening.cancelled() and opening.exception() is None

    async def _close(self) -> None:
        # Cancelled already; nobody else waits until they have ended.
        await asyncio.gather(*self._unfinished, return_exceptions=True)
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._is_ready = False
        if self._was_opened:
            self._was_opened = False
            await self.backend.close()


async def _nothing() -> None:
    """Calling it opens the backend."""
