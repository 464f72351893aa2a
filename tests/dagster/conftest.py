"""Fixtures: the sample app on the embedded backend, a worker in a thread, an instance of Dagster in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import pytest

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.catalogue import Catalogue, build_catalogue
from flowcraft_dagster.orchestration.connection import Connection, close_connections
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource, FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.runtime.worker import Worker
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend
from tests.dagster.sample_app import app as sample_app

T = TypeVar("T")
HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0
# Raised inside Dagster about its own use of itself and of pydantic.
DAGSTER_WARNINGS = (
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore:InitResourceContext.dagster_run is deprecated",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for warning in DAGSTER_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


class LogKeeper(logging.Handler):
    """Keeps the lines that ticks logged: Dagster's loggers do not pass them on."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Site:
    """A code location over a folder of its own.

    Attributes:
        is_patient: whether a tick that got no answer in time is followed by the next one, as in the daemon: on a busy
            machine that may happen to any tick.
    """

    app: Flowcraft
    home: Path
    resource: FlowcraftClientResource
    definitions: dg.Definitions
    catalogue: Catalogue
    instance: dg.DagsterInstance
    log: LogKeeper = field(default_factory=LogKeeper)
    is_patient: bool = True

    @property
    def connection(self) -> Connection:
        return self.resource.connect()

    @property
    def client(self) -> Client:
        return self.connection.client

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home)

    @property
    def resources(self) -> dict[str, Any]:
        """All resources of the location, over this folder."""
        return build_flowcraft_resources(self.resource.app, self.resource.backend)

    def evaluate(self, sensor: dg.SensorDefinition, cursor: str | None = None) -> Any:
        """Evaluate a sensor as the daemon does: once, or until it has got its answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        result = self._evaluate_once(sensor, cursor)
        while self.is_patient and "has not answered within" in (result.skip_message or ""):
            assert time.monotonic() < deadline, result.skip_message
            result = self._evaluate_once(sensor, result.cursor)
        return result

    def _evaluate_once(self, sensor: dg.SensorDefinition, cursor: str | None) -> Any:
        with dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources=self.resources, definitions=self.definitions
        ) as context:
            context.log.addHandler(self.log)
            return sensor.evaluate_tick(context)

    def tick(self, sensor_name: str, cursor: str | None = None) -> Any:
        """Evaluate one of the location's sensors once."""
        return self.evaluate(self.definitions.get_repository_def().get_sensor_def(sensor_name), cursor)

    def report(self, tick: Any) -> None:
        """Store the events of a tick, as the daemon does."""
        for event in tick.asset_events:
            self.instance.report_runless_asset_event(event)

    def run_job(self, name: str, config: dict[str, Any] | dg.RunConfig | None = None, **more: Any) -> Any:
        """Execute a job here and now."""
        job = self.definitions.resolve_job_def(name)
        more.setdefault("raise_on_error", False)
        if config is not None:
            more["run_config"] = config
        return job.execute_in_process(instance=self.instance, **more)

    def materialize(self, blueprint_id: str, config: dict[str, Any] | None = None) -> Any:
        """Materialize the asset of a blueprint, without its checks."""
        entry = self.catalogue.entries[blueprint_id]
        job = self.definitions.resolve_job_def("__ASSET_JOB")
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[entry.key],
            run_config={"ops": {entry.op_name: {"config": config or {}}}},
            raise_on_error=False,
        )


HOME_VARIABLE = "FLOWCRAFT_TEST_HOME"
SAMPLE_APP = "tests.dagster.sample_app:app"


@lru_cache
def sample_definitions() -> dg.Definitions:
    """Built once: the folder comes from the environment when a run or a tick begins."""
    backend = EmbeddedStoreResource(home=dg.EnvVar(HOME_VARIABLE), synchronous="NORMAL")
    return build_flowcraft_definitions(SAMPLE_APP, backend=backend)


@lru_cache
def sample_catalogue() -> Catalogue:
    return build_catalogue(sample_app, FlowcraftDagsterTranslator(), Presenter())


@pytest.fixture(autouse=True)
def disconnected() -> Iterator[None]:
    """No test finds what another one has connected to."""
    yield
    close_connections()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Site:
    home = tmp_path / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    resource = FlowcraftClientResource(
        app=SAMPLE_APP, backend=EmbeddedStoreResource(home=str(home), synchronous="NORMAL")
    )
    return Site(sample_app, home, resource, sample_definitions(), sample_catalogue(), instance)


class WorkerThread:
    """A worker beside the test, as a process of its own would be."""

    def __init__(self, app: Flowcraft, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._ready = threading.Event()
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="test-worker")

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    @property
    def worker(self) -> Worker:
        assert self._worker is not None
        return self._worker

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the worker's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        if self._thread.is_alive() and self._loop is not None and self._worker is not None:
            self._loop.call_soon_threadsafe(self._worker.stop)
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _work(self) -> None:
        clock = SystemClock()
        backend = make_backend(self._settings, clock)
        await backend.open()
        self._loop = asyncio.get_running_loop()
        self._worker = self._app.worker(self._settings, backend=backend, clock=clock)
        running = asyncio.ensure_future(self._worker.run())
        await self._worker.ready.wait()
        self._ready.set()
        await running
        await backend.close()


@pytest.fixture
def worker(site: Site) -> Iterator[WorkerThread]:
    thread = WorkerThread(site.app, site.settings)
    thread.start()
    yield thread
    thread.stop()
