"""Terminals in which a test types what a page says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from examples.demo.processes import ProcessTree

POLL_SECONDS: Final = 0.1
SHOWN_CHARACTERS: Final = 4000

FOUND = TypeVar("FOUND")


class Terminal:
    """A shell of its own. The first command that fails ends it.

    Args:
        processes: ends what is left.
        folder: where it is opened.
        environment: its variables.
        log: an absent file for what is seen in it.
    """

    def __init__(self, processes: ProcessTree, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._blocks = 0
        self._shell = processes.start(
            ["bash", "--noprofile", "--norc", "-e"],
            environment=environment,
            folder=folder,
            log=log,
            stdin=subprocess.PIPE,
        )

    @property
    def seen(self) -> str:
        """Everything that was printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def type(self, block: str) -> None:
        """Type commands and do not wait."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{block.rstrip()}\n".encode())
        self._shell.stdin.flush()

    def run(self, block: str, seconds: float) -> str:
        """Type commands and wait until all have succeeded; returns what they printed."""
        self._blocks += 1
        before, end = len(self.seen), f"-- end of block {self._blocks}"
        self.type(block)
        self.type(f"printf '%s\\n' '{end}'")
        self.await_text(end, seconds)
        return self.seen[before:].replace(end, "")

    def await_text(self, words: str, seconds: float) -> None:
        """Wait until something was printed."""
        await_event(lambda: words in self.seen or None, seconds, lambda: f"no '{words}' in:\n{self.tail()}", self._look)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._shell.pid, signal.SIGINT)

    def _look(self) -> None:
        # What was printed last is read once more before the shell's end counts.
        if self._shell.poll() is not None:
            time.sleep(POLL_SECONDS)
            raise AssertionError(f"the terminal has ended with code {self._shell.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of what was printed."""
        return self.seen[-SHOWN_CHARACTERS:]


def await_event(
    look: Callable[[], FOUND | None],
    seconds: float,
    complaint: Callable[[], str],
    check: Callable[[], None] = lambda: None,
) -> FOUND:
    """Look again and again until something is there.

    Args:
        look: gives None as long as it is not.
        seconds: how long.
        complaint: what to say when it does not come.
        check: raises when there is no use in waiting.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        check()
        assert time.monotonic() < deadline, complaint()
        time.sleep(POLL_SECONDS)
