"""Resources: configuration of the backend, the client and the worker.

Building one connects to nothing, so definitions load with every server down. Text fields take ``dg.EnvVar``, for
example ``EmbeddedStoreResource(home=dg.EnvVar("SHOP_HOME"))``. The UI shows the docstring of each in the Launchpad.
"""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import dagster as dg
from pydantic import Field

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.connection import Connection, connect, find_app
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.portal import Portal
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

LOOK_SECONDS = 0.1


class FlowcraftBackendResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where runs are kept and jobs are queued. Subclasses say it as environment variables."""

    @abstractmethod
    def list_variables(self) -> Mapping[str, str]:
        """Settings by the names of their environment variables; what is absent comes from the environment."""


class EnvironmentBackendResource(FlowcraftBackendResource):
    """The backend that ``FLOWCRAFT_BACKEND`` and its companions name, as for the command line and the workers."""

    def list_variables(self) -> Mapping[str, str]:
        """Nothing: the environment says everything."""
        return {}


class EmbeddedStoreResource(FlowcraftBackendResource):
    """The embedded backend: store, queue and coordination in one SQLite file."""

    home: str = Field(
        default="",
        description="Folder of the data, on a local disk. Empty: FLOWCRAFT_HOME, else $DAGSTER_HOME/flowcraft, else"
        " ./.flowcraft, as for the workers.",
    )
    synchronous: str = Field(
        default="FULL",
        description="FULL keeps every acknowledged commit through a power loss; NORMAL is faster and may lose the"
        " last ones then.",
    )

    def list_variables(self) -> Mapping[str, str]:
        """The settings of the embedded backend."""
        variables = {"FLOWCRAFT_BACKEND": "embedded", "FLOWCRAFT_SYNCHRONOUS": self.synchronous}
        return {**variables, "FLOWCRAFT_HOME": self.home} if self.home else variables


class FlowcraftClientResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Starts, follows, answers and cancels runs. One live client per process serves all runs and ticks."""

    app: str = Field(description="The app with the blueprints: MODULE:ATTR, for example 'examples.moderation:app'.")
    backend: dg.ResourceDependency[FlowcraftBackendResource]

    def connect(self) -> Connection:
        """The connection of this process; opened when it is not.

        Raises:
            AppLoadError, SettingsError: the configuration cannot be used.
            InfrastructureError: the store or queue is away; the next call tries again.
        """
        return connect(self.app, self.backend.list_variables())

    def get_client(self) -> Client:
        """The live client; do not close it. Raises as :meth:`connect`.

        Example:
            >>> @dg.op  # doctest: +SKIP
            ... def greet(flowcraft: FlowcraftClientResource) -> str:
            ...     return flowcraft.get_client().start("hello", {"name": "Ann"})
        """
        return self.connect().client

    def get_app(self) -> Flowcraft:
        """The app, without connecting. Raises AppLoadError."""
        return find_app(self.app)


@dataclass(frozen=True)
class DrainReport:
    """What a bounded worker did.

    Attributes:
        seconds: how long it ran.
        counters: figures of the worker, by name.
        left: messages that still wait.
        is_idle: whether it ended because nothing was left to do.
    """

    seconds: float
    counters: Mapping[str, int]
    left: int
    is_idle: bool


class FlowcraftWorkerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A worker inside a Dagster run, for small set-ups; otherwise workers are processes of their own."""

    flowcraft: dg.ResourceDependency[FlowcraftClientResource]
    concurrency: int = Field(default=0, ge=0, description="Nodes that run at a time; 0 for the setting.")

    def drain(self, max_seconds: float = 60.0, idle_seconds: float = 1.0) -> DrainReport:
        """Work until nothing is left, or the time is up; then leave without losing anything.

        Args:
            max_seconds: no new work after this; running nodes get the drain time of the settings.
            idle_seconds: how long there must have been nothing to do.

        Raises:
            AppLoadError, SettingsError: the configuration cannot be used.
            InfrastructureError: the store or queue is away.
        """
        connection = self.flowcraft.connect()
        settings = connection.settings
        if self.concurrency:
            settings = replace(settings, options=replace(settings.options, concurrency=self.concurrency))
        portal = Portal()
        try:
            return portal.call(_drain(connection.app, settings, max_seconds, idle_seconds))
        finally:
            portal.close()


async def _drain(app: Flowcraft, settings: Settings, max_seconds: float, idle_seconds: float) -> DrainReport:
    clock = SystemClock()
    backend = make_backend(settings, clock)
    await backend.open()
    started = time.monotonic()
    try:
        worker = app.worker(settings, backend=backend, clock=clock)
        working = asyncio.ensure_future(worker.run())
        idle_since: float | None = None
        is_idle = False
        try:
            while not working.done() and not is_idle and time.monotonic() - started < max_seconds:
                await asyncio.wait([working], timeout=LOOK_SECONDS)
                is_busy = worker.live_runs > 0 or await backend.jobs.measure_lag() > 0
                idle_since = None if is_busy else idle_since or time.monotonic()
                is_idle = idle_since is not None and time.monotonic() - idle_since >= idle_seconds
        finally:
            worker.stop()
            await working
        return DrainReport(
            seconds=time.monotonic() - started,
            counters=dict(worker.counters),
            left=await backend.jobs.measure_lag(),
            is_idle=is_idle,
        )
    finally:
        await backend.close()
