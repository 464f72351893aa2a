"""A worker inside a Dagster run, and a view of those that are processes of their own."""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
import threading
import time
from dataclasses import replace
from typing import Final

import dagster as dg
from pydantic import Field

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.backend import HealthReport
from flowcraft_dagster.ports.records import WorkerRecord
from flowcraft_dagster.runtime.bounded import WorkBounds, WorkReport, work_within
from flowcraft_dagster.runtime.portal import Portal
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

LEAVE_SECONDS: Final = 10.0
MISSED_HEARTBEATS: Final = 3
"""A worker that was silent for so many of its heartbeats is gone."""


class FlowcraftWorkerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Looks at workers, and works itself for a while; otherwise workers are processes of their own."""

    flowcraft: dg.ResourceDependency[FlowcraftClientResource]
    concurrency: int = Field(default=0, ge=0, description="Nodes that run at a time; 0 for the setting.")

    def drain(
        self, max_jobs: int | None = None, max_seconds: float | None = 60.0, idle_seconds: float | None = 1.0
    ) -> WorkReport:
        """Work like ``flowcraft-dagster worker`` until a bound is reached; then leave without losing anything.

        Args:
            max_jobs: messages that are taken from the queue; None for as many as there are.
            max_seconds: no new work after this; running nodes get the drain time of the settings.
            idle_seconds: ends when there was nothing to do for so long.

        Raises:
            AppLoadError, SettingsError: the configuration cannot be used.
            InfrastructureError: the store or queue is away.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def work_off(flowcraft_worker: FlowcraftWorkerResource) -> None:
            ...     flowcraft_worker.drain(max_jobs=1000, max_seconds=300)
        """
        connection = self.flowcraft.connect()
        settings = connection.settings.for_a_while()
        if self.concurrency:
            settings = replace(settings, options=replace(settings.options, concurrency=self.concurrency))
        portal, has_left = Portal(), threading.Event()
        try:
            return portal.call(
                _drain(connection.app, settings, WorkBounds(max_jobs, max_seconds, idle_seconds), has_left)
            )
        except BaseException:
            # The Dagster run is cancelled: the worker leaves its group before its loop is gone.
            has_left.wait(LEAVE_SECONDS)
            raise
        finally:
            portal.close()

    def workers(self) -> tuple[WorkerRecord, ...]:
        """Workers that are alive, by their heartbeats; the longest at work first. Raises InfrastructureError."""
        connection = self.flowcraft.connect()
        since = time.time() - MISSED_HEARTBEATS * connection.settings.options.heartbeat_seconds
        records = connection.call(connection.backend.workers.list_workers(since))
        return tuple(sorted((x for x in records if x.state == "alive"), key=lambda record: record.started_at))

    def health(self) -> list[HealthReport]:
        """A report for each worker that is alive: what it holds, and what troubles it. Raises InfrastructureError."""
        return [_describe(record) for record in self.workers()]


def _describe(record: WorkerRecord) -> HealthReport:
    figures = record.health
    trouble = figures.get("trouble")
    detail = f"{figures.get('lanes', 0)} runs held, {figures.get('messages', 0)} messages taken"
    if figures.get("abandonedThreads"):
        detail += f", {figures['abandonedThreads']} threads held by nodes that timed out"
    return HealthReport(record.slot, not trouble, f"{detail}: {trouble}" if trouble else detail)


async def _drain(app: Flowcraft, settings: Settings, bounds: WorkBounds, has_left: threading.Event) -> WorkReport:
    clock = SystemClock()
    try:
        backend = make_backend(settings, clock)
        await backend.open()
        try:
            worker = app.worker(settings, backend=backend, clock=clock)
            return await work_within(worker, backend.jobs, clock, bounds)
        finally:
            await backend.close()
    finally:
        has_left.set()
