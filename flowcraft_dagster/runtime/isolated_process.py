"""The worker's side of a process in which suspects run.

Requests and answers are JSON on its pipes, each after its length. The first answer says that the app is loaded; until
then nothing that happens is a node's doing. The process ends when its pipe closes, so that it does not outlive the
worker.
"""

from __future__ import annotations

import asyncio
import os
import sys

from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.errors import IsolationUnavailable
from flowcraft_dagster.timeouts import await_within

START_SECONDS = 120.0
LENGTH_BYTES = 8


class ProcessDied(Exception):
    """The process ended instead of answering."""


class IsolatedProcess:
    """One process; made by :meth:`start`.

    Args:
        target: ``MODULE:ATTR`` of the app.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until the app is loaded.

        Raises:
            IsolationUnavailable: that is not possible now.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "flowcraft_dagster.isolated",
                self._target,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"FLOWCRAFT_FAULT": ""},
            )
            greeting = decode(await await_within(self._read(), START_SECONDS))
        except (OSError, ProcessDied, asyncio.TimeoutError) as error:
            reason = str(error) or f"no answer within {START_SECONDS:g} s"
            raise IsolationUnavailable(reason, target=self._target) from error
        if "trouble" in greeting:
            raise IsolationUnavailable(greeting["trouble"], target=self._target)

    async def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its answer.

        Raises:
            ProcessDied: it ended instead; says how.
        """
        if self._process is None or self._process.stdin is None:
            raise ProcessDied("it was never started")
        try:
            self._process.stdin.write(len(request).to_bytes(LENGTH_BYTES, "big") + request)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ProcessDied(await self._tell_end()) from error
        return await self._read()

    async def end(self) -> None:
        """Kill it if it lives; harmless when it is dead."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def _read(self) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise ProcessDied("it was never started")
        try:
            length = int.from_bytes(await self._process.stdout.readexactly(LENGTH_BYTES), "big")
            return await self._process.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            raise ProcessDied(await self._tell_end()) from error

    async def _tell_end(self) -> str:
        """How it ended; killed if it only closed its pipe."""
        await self.end()
        code = None if self._process is None else self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
