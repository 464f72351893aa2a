"""Calls that somebody waits for only a short while: what takes longer goes on, and is taken up by the next caller.

For callers that must not be held up and come again, such as a tick of a sensor: a server that is away costs them
little, and one that is slow still gets its answer across.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar, cast

from flowcraft_dagster.errors import InfrastructureError

T = TypeVar("T")

Make = Callable[[], Coroutine[Any, Any, T]]
Begin = Callable[[Callable[[], Coroutine[Any, Any, Any]]], "concurrent.futures.Future[Any]"]
"""Makes a coroutine in its loop, and starts it there."""


class LeftCalls:
    """Begins calls, and keeps those that nobody waits for any more. May be used from several threads.

    Args:
        begin: makes a coroutine in its loop, and starts it there.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._left: dict[str, tuple[Hashable, concurrent.futures.Future[Any]]] = {}
        self._lock = threading.Lock()

    def call(self, name: str, question: Hashable, make: Make[T], seconds: float) -> T:
        """What the coroutine comes to, or what the same question left behind earlier.

        Args:
            name: of who asks and for what; one call is kept for each.
            question: everything the answer depends on. Another one is not answered by what was left behind.
            make: makes the coroutine. It only reads: nobody may be there to learn what it did.
            seconds: how long to wait.

        Raises:
            InfrastructureError: there is no answer yet. Where the same question failed earlier, this says why.
        """
        future, trouble = self._take_up(name, question)
        if future is None:
            future = self._begin(make)
        try:
            # Not by the future's own time limit: the work may end with a TimeoutError itself.
            done, _ = concurrent.futures.wait((future,), seconds)
        except BaseException:
            future.cancel()
            raise
        if done:
            return cast(T, future.result())
        self._leave(name, question, future)
        raise trouble or InfrastructureError(f"{name} has not answered within {seconds:g} s")

    def cancel(self) -> None:
        """End what was left behind."""
        with self._lock:
            left = list(self._left.values())
            self._left.clear()
        for _, future in left:
            future.cancel()

    def _take_up(
        self, name: str, question: Hashable
    ) -> tuple[concurrent.futures.Future[Any] | None, InfrastructureError | None]:
        with self._lock:
            known, future = self._left.pop(name, (None, None))
        if future is None:
            return None, None
        if not future.done():
            if known == question:
                return future, None
            future.cancel()
            return None, None
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            return (future, None) if known == question else (None, None)
        # A failure of then is no answer for now: asked again, it may be back.
        return None, error if isinstance(error, InfrastructureError) else None

    def _leave(self, name: str, question: Hashable, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            _, older = self._left.pop(name, (None, None))
            self._left[name] = (question, future)
        if older is not None:
            older.cancel()
