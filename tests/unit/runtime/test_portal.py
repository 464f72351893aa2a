"""An event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path

from flowcraft_dagster.runtime.portal import Portal

IN_A_CHILD = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forking beside threads: that is what this is about
from pathlib import Path
from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.runtime.backend_portal import BackendPortal
from flowcraft_dagster.runtime.system_clock import SystemClock

def ask(portal):
    return portal.call(portal.backend.state.read_header("none"))

portal, unused = (BackendPortal(EmbeddedBackend(Path(sys.argv[1]), SystemClock())) for _ in range(2))
ask(portal)
child = os.fork()
if child == 0:
    signal.alarm(30)  # so that nothing is left of one that waits for ever
    try:
        ask(portal)
    except FlowcraftError as error:
        print(error, error.hint, flush=True)
    portal.close()
    print("unused:", ask(unused), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent:", ask(portal), flush=True)
portal.close()
"""


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


def test_a_forked_child_is_told_and_leaves_its_parent_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    told, unused, parent = done.stdout.splitlines()
    assert "before the process was forked" in told
    assert "Make a client after the fork" in told
    assert (unused, parent) == ("unused: None", "parent: None"), done.stderr
