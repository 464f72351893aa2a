"""What is done to the servers, one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from stack_servers.stack import Stack


@dataclass(frozen=True)
class Trouble:
    """A server was away.

    Attributes:
        what: for example ``cassandra stopped``.
        seconds: from its stop until it answered again.
        live_before, live_after: runs that had not ended when it began and when it was over.
    """

    what: str
    seconds: float
    live_before: int
    live_after: int

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return asdict(self)


async def make_trouble(
    stack: Stack, away_seconds: float, count_live: Callable[[], int], pause_seconds: float
) -> list[Trouble]:
    """Restart the broker, then take Cassandra and Redis away for a while each.

    Args:
        stack: the servers.
        away_seconds: between a server's end and its new start; the broker is started again at once.
        count_live: runs that have not ended.
        pause_seconds: between two troubles.
    """
    troubles = []
    for name, away in (("kafka", 0.0), ("cassandra", away_seconds), ("redis", away_seconds)):
        await asyncio.sleep(pause_seconds)
        began, live = time.monotonic(), count_live()
        await asyncio.to_thread(stack.stop, [name])
        await asyncio.sleep(away)
        await asyncio.to_thread(stack.start, [name])
        what = f"{name} stopped for {away:g} s" if away else f"{name} restarted"
        troubles.append(Trouble(what, round(time.monotonic() - began, 1), live, count_live()))
    return troubles
