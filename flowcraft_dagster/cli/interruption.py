"""SIGTERM as polite as Ctrl-C, for commands that have processes of their own to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in a new event loop; SIGTERM and Ctrl-C cancel it and let it clean up.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """

    async def guard() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    try:
        return asyncio.run(guard())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
