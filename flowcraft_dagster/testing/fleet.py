"""Worker processes of one test or measurement: started, killed, replaced and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_READY = b" ready: "
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_MAX_EARLY_DEATHS = 3


class FleetError(FlowcraftError):
    """Workers do not start."""

    hint_template = "Their log is in {folder}."


class _Seat:
    """One slot of the fleet and the process that fills it."""

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.early_deaths = 0


class WorkerFleet:
    """Worker processes, each in a slot of its own. Use as an async context manager.

    A worker that dies is replaced at once. All of them end when this process ends, however it does.

    Args:
        app: ``MODULE:ATTR`` that the workers load.
        size: how many.
        environment: variables on top of this process's own.
        folder: where the workers' logs go.

    Attributes:
        killed: how many were killed by :meth:`kill`.
        died: how many ended by themselves.
    """

    def __init__(self, app: str, size: int, environment: Mapping[str, str], folder: Path) -> None:
        self._app = app
        self._folder = folder
        self._environment = {**os.environ, **environment}
        paths = [str(_PACKAGE_PARENT), self._environment.get("PYTHONPATH", "")]
        self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._seats = [_Seat(f"{folder.name}-{number}") for number in range(size)]
        self._closing = False
        self._failure: asyncio.Future[None] | None = None
        self.killed = 0
        self.died = 0

    async def __aenter__(self) -> WorkerFleet:
        self._failure = asyncio.get_running_loop().create_future()
        for seat in self._seats:
            seat.keeper = asyncio.ensure_future(self._keep(seat))
        try:
            await self.guard(self.wait_ready())
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def wait_ready(self) -> None:
        """Return when every slot has a worker that is ready.

        Raises:
            FleetError: it takes too long.
        """
        try:
            await await_within(self._wait_for_each(), _START_SECONDS)
        except asyncio.TimeoutError:
            raise FleetError(f"workers are not ready after {_START_SECONDS:g} s", folder=self._folder) from None

    async def _wait_for_each(self) -> None:
        for seat in self._seats:
            await seat.ready.wait()

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work``, and stop it when the fleet cannot keep its workers.

        Raises:
            FleetError: workers end as soon as they start.
        """
        failure = self._failure
        if failure is None:
            work.close()
            raise FleetError("the fleet was not started", folder=self._folder)
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, failure}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if failure.done() and (task.cancelled() or task.exception() is not None):
            failure.result()
        task.result()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the workers that are ready, by slot."""
        return {
            seat.slot: seat.process.pid
            for seat in self._seats
            if seat.process is not None and seat.ready.is_set() and seat.process.returncode is None
        }

    def kill(self, slot: str) -> None:
        """End the worker in ``slot`` with SIGKILL; another one takes its place."""
        seat = next(seat for seat in self._seats if seat.slot == slot)
        if seat.process is not None and seat.process.returncode is None:
            self.killed += 1
            seat.ready.clear()
            seat.process.kill()

    def send_signal(self, slot: str, number: signal.Signals) -> None:
        """Send a signal to the worker in ``slot``, for example SIGSTOP."""
        seat = next(seat for seat in self._seats if seat.slot == slot)
        if seat.process is not None and seat.process.returncode is None:
            seat.process.send_signal(number)

    async def close(self) -> None:
        """Let all workers drain and end; what does not end in time is killed."""
        self._closing = True
        running = [seat.process for seat in self._seats if seat.process is not None and seat.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                # A stopped process would not see the SIGTERM.
                process.send_signal(signal.SIGCONT)
                process.terminate()
        try:
            await await_within(asyncio.gather(*(process.wait() for process in running)), _STOP_SECONDS)
        except asyncio.TimeoutError:
            logger.warning("workers do not end; killing them")
        finally:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            keepers = [seat.keeper for seat in self._seats if seat.keeper is not None]
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, seat: _Seat) -> None:
        while not self._closing:
            with (self._folder / f"{seat.slot}.log").open("ab") as log:
                seat.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "flowcraft_dagster.cli", "worker", "--app", self._app),
                    *("--slot", seat.slot, "--end-with-stdin"),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=log,
                    env=self._environment,
                )
            killed = self.killed
            await self._watch(seat, seat.process)
            code = await seat.process.wait()
            was_ready = seat.ready.is_set()
            seat.ready.clear()
            if self._closing:
                return
            if self.killed == killed or code != -signal.SIGKILL:
                self.died += 1
                logger.warning("worker %s ended by itself with code %s", seat.slot, code)
                seat.early_deaths = 0 if was_ready else seat.early_deaths + 1
            if seat.early_deaths >= _MAX_EARLY_DEATHS:
                self._give_up(seat, code)
                return

    async def _watch(self, seat: _Seat, process: Process) -> None:
        """Notice the ready line, and read on so that the worker never waits for a reader."""
        if process.stdout is None:
            return
        async for line in process.stdout:
            if _READY in line:
                seat.ready.set()

    def _give_up(self, seat: _Seat, code: int) -> None:
        if self._failure is not None and not self._failure.done():
            lines = (self._folder / f"{seat.slot}.log").read_text(errors="replace").splitlines()
            last = lines[-1] if lines else "without a word"
            self._failure.set_exception(
                FleetError(f"workers end as soon as they start, with code {code}: {last}", folder=self._folder)
            )
