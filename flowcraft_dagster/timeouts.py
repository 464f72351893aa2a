"""Waiting for a limited time without losing a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def await_within(awaitable: Awaitable[T], seconds: float) -> T:
    """What ``awaitable`` comes to, if it does in time.

    Before Python 3.12 ``asyncio.wait_for`` forgets that it was cancelled when what it waits for ends in the same
    moment: a loop around it then goes on for ever, and whoever cancelled it waits for ever.

    Args:
        awaitable: is cancelled when the time is up, or when the caller is cancelled.
        seconds: for how long.

    Raises:
        asyncio.TimeoutError: the time is up.

    Example:
        >>> await await_within(event.wait(), 1.0)  # doctest: +SKIP
    """
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _end(task)
        raise
    if not done:
        await _end(task)
        raise asyncio.TimeoutError
    return task.result()


async def _end(task: asyncio.Future[T]) -> None:
    task.cancel()
    # What it ended with is nobody's any more, and is looked at so that the loop does not complain.
    await asyncio.gather(task, return_exceptions=True)
