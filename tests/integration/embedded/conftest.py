"""Other processes over one folder."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.runtime.system_clock import SystemClock

PATIENCE = 20.0
ROOT = Path(__file__).parents[3]


@dataclass
class OtherProcess:
    """A process that reports line by line."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def until(self, check: Callable[[list[str]], bool]) -> None:
        """Read its reports until ``check`` holds for all of them together."""
        assert self.process.stdout is not None
        while not check(self.lines):
            line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
            assert line, f"the process ended after {self.lines[-5:]}"
            self.lines.append(line.decode().strip())

    async def until_said(self, text: str) -> None:
        """Read its reports until one of them is ``text``."""
        await self.until(lambda lines: text in lines)

    def tell(self, command: str) -> None:
        """Give a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def end(self) -> None:
        """Kill it, if it still runs, and take leave of its pipes."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


StartProcess = Callable[..., Awaitable[OtherProcess]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def backend(home: Path) -> AsyncIterator[EmbeddedBackend]:
    opened = EmbeddedBackend(home, SystemClock(), revoke_seconds=0.5, stale_seconds=1.5, patience=1.0)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def start_process(home: Path) -> AsyncIterator[StartProcess]:
    started: list[OtherProcess] = []

    async def start(kind: str, stale_seconds: float = 1.5) -> OtherProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("other_process.py")),
            kind,
            str(home),
            str(stale_seconds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        other = OtherProcess(process)
        started.append(other)
        await other.until_said("ready")
        return other

    yield start
    for other in started:
        await other.end()
