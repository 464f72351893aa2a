"""One worker process: ready line, signals, health, waiting for servers, recycling."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS
from flowcraft_dagster.cli.failures import DONE, FAILED, CommandFailed, describe_error, report
from flowcraft_dagster.cli.health_server import HOST, HealthServer
from flowcraft_dagster.errors import InfrastructureError, StorageReadOnly
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.bounded import WorkBounds, work_within
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.timeouts import await_within
from flowcraft_dagster.wiring import make_backend

if TYPE_CHECKING:
    from flowcraft_dagster.app import Flowcraft
    from flowcraft_dagster.runtime.worker import Worker

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
STEADY_SECONDS = 60.0
"""A worker that lived so long has recovered: the next failure starts with the short pause again."""


COLLECT_AFTER = (20_000, 20, 50)
"""Objects and generations after which the collector of reference cycles looks for garbage."""

GAUGES = {
    "ready": "1 once the worker takes messages",
    "uptimeSeconds": "since the start of the process",
    "cpuSeconds": "processor time of the process and of those it started and that have ended",
    "lanes": "runs that are held in memory",
    "abandonedThreads": "threads of sync nodes that timed out and still run",
    "paused": "1 while no messages are taken, since enough runs are held",
    "trouble": "1 while a server does not answer",
}
"""Figures of now, as :meth:`WorkerProcess.describe` names them."""


class WorkerProcess:
    """Runs workers one after the other until told to stop.

    Args:
        app: what the worker knows.
        settings: backend and options.
        slot: stable name of the worker's place.
        health_port: where health is served; None for nowhere, 0 for a free port.
        bounds: when it ends by itself.
        end_with_stdin: drain when standard input closes: whoever started this process is gone then.

    Attributes:
        should_recycle: whether the process is to be replaced by a fresh one.
    """

    def __init__(
        self,
        app: Flowcraft,
        settings: Settings,
        *,
        slot: str | None = None,
        health_port: int | None = None,
        bounds: WorkBounds | None = None,
        end_with_stdin: bool = False,
    ) -> None:
        self._app = app
        self._bounds = bounds or WorkBounds()
        self._settings = settings.for_a_while() if self._bounds.are_set else settings
        self._slot = slot
        self._health_port = health_port
        self._end_with_stdin = end_with_stdin
        self._worker: Worker | None = None
        self._stop = asyncio.Event()
        self._started_at = time.time()
        self.should_recycle = False

    async def serve(self) -> int:
        """Work until stopped, and wait for servers that are away; or within bounds.

        Returns:
            The exit code.

        Raises:
            StorageReadOnly, SchemaMismatch, SettingsError: waiting would not help.
            InfrastructureError: a server is away and there are bounds: whoever set them will call again.
        """
        for line in find_missing_kinds(self._app):
            logger.warning("%s", line)
        _relax_collector()
        with self._signals():
            health = await self._start_health()
            try:
                return await self._serve_again(health)
            finally:
                if health is not None:
                    await health.close()

    async def _serve_again(self, health: HealthServer | None) -> int:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._serve_once(health)
            except StorageReadOnly:
                raise
            except InfrastructureError as error:
                if self._stop.is_set():
                    return DONE
                if self._bounds.are_set:
                    raise
                if time.monotonic() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE
                logger.warning("%s Trying again in %.1f s.", describe_error(error), pause)
                with contextlib.suppress(asyncio.TimeoutError):
                    await await_within(self._stop.wait(), pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return DONE
            if self._stop.is_set():
                return DONE

    async def _serve_once(self, health: HealthServer | None) -> None:
        backend = make_backend(self._settings, SystemClock())
        try:
            await backend.open()
            if self._stop.is_set():
                return
            self._worker = worker = self._app.worker(self._settings, backend=backend, slot=self._slot)
            announcing = asyncio.ensure_future(self._announce(worker, backend, health))
            try:
                if self._bounds.are_set:
                    done = await work_within(worker, backend.jobs, SystemClock(), self._bounds)
                    logger.info("%d messages taken in %.1f s, %d left", done.jobs, done.seconds, done.left)
                else:
                    await worker.run()
            finally:
                announcing.cancel()
                self.should_recycle = worker.should_recycle
                self._worker = None
        finally:
            await backend.close()
        if self.should_recycle:
            logger.warning("too many threads are held by nodes that timed out: starting a fresh process")
        else:
            logger.info("worker %s stopped", worker.worker_id)

    async def _announce(self, worker: Worker, backend: Backend, health: HealthServer | None) -> None:
        await worker.ready.wait()
        line = (
            f"worker {worker.worker_id} ready: backend {backend.name}, {len(self._app.blueprints)} blueprints, "
            f"{len(self._app.nodes)} node kinds"
        )
        if health is not None:
            line += f", health on http://{HOST}:{health.port}/healthz"
        click.echo(line)

    async def _start_health(self) -> HealthServer | None:
        if self._health_port is None:
            return None
        server = HealthServer(self.describe)
        try:
            await server.start(self._health_port)
        except OSError as error:
            # asyncio puts the address before it: the system's own words are enough.
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise CommandFailed(
                f"health port {self._health_port}: {reason}", "Choose another one, or 0 for a free one."
            ) from error
        return server

    def describe(self) -> dict[str, Any]:
        """Figures for health and metrics."""
        worker, times = self._worker, os.times()
        figures: dict[str, Any] = {
            "ready": worker is not None and worker.ready.is_set(),
            "trouble": None if worker is not None else "the backend is not open",
            "backend": self._settings.backend,
            "uptimeSeconds": round(time.time() - self._started_at, 3),
            "cpuSeconds": round(times.user + times.system, 3),
        }
        if worker is not None:
            counters = dict(worker.counters)
            health = {name: value for name, value in worker.describe_health().items() if name not in counters}
            figures |= {"workerId": worker.worker_id, **health, "counters": counters}
        return figures

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._take_signal, number)
        if self._end_with_stdin:
            loop.add_reader(sys.stdin.fileno(), self._read_stdin)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            if self._end_with_stdin:
                loop.remove_reader(sys.stdin.fileno())

    def _read_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._take_signal(signal.SIGTERM)

    def _take_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            report(f"second {number.name}: stopping at once; what was running will be executed again")
            os._exit(FAILED)
        self._stop.set()
        if self._worker is not None:
            report(f"{number.name}: draining {self._worker.live_runs} runs; a second one stops at once")
            self._worker.stop()


def find_missing_kinds(app: Flowcraft) -> list[str]:
    """A line for each blueprint of the app that needs node kinds it does not have."""
    lines = []
    for blueprint in app.blueprints.values():
        used = {node.uses for node in blueprint.nodes}
        used |= {str(node.params.get("workerUsesKey")) for node in blueprint.nodes if node.kind == "batch-scatter"}
        missing = sorted(used - set(app.nodes) - BUILT_IN_KINDS.keys() - {"None"})
        if missing:
            kinds = ", ".join(f"'{uses}'" for uses in missing)
            lines.append(
                f"blueprint '{blueprint.id}': no node kind {kinds} is registered; its runs are left to other workers. "
                f"Register it with @app.node."
            )
    return lines


def _relax_collector() -> None:
    """Spare the collector of cycles what never becomes garbage, and let it look less often.

    A worker has tens of thousands of live objects in its lanes, and next to no cycles: with the interpreter's own
    thresholds a fifth of its processor time goes into looking at them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
