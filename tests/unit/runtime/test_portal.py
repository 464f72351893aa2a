"""An event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import CancelledError

from flowcraft_dagster.runtime.portal import Portal


def test_nobody_waits_for_ever_for_a_portal_that_is_closed() -> None:
    portal, begun = Portal(), threading.Event()
    ends: list[str] = []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ends.append("cleared up")

    def wait() -> None:
        with contextlib.suppress(CancelledError):
            portal.call(work())
            ends.append("came to something")

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert begun.wait(10)
    portal.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert ends == ["cleared up"]


def test_it_starts_anew_after_it_was_closed() -> None:
    async def work() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    portal = Portal()
    first = portal.call(work())
    portal.close()
    second = portal.call(work())
    portal.close()
    assert first is not second
    assert first.is_closed()
    assert second.is_closed()
