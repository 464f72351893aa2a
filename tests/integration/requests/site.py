"""Dagster's daemon and a worker, as processes of their own, and what they have done."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg

from examples.demo.processes import FoundProcess, ProcessTree
from flowcraft_dagster import Client, RunQuery, Settings, load_app
from flowcraft_dagster.ports.records import RunHeader

APP = "tests.dagster.sample_app:app"
ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 240.0
MOST_RUNS = 100_000


class RequestSite:
    """A daemon with its code location, a worker and a client over one backend.

    Args:
        folder: becomes DAGSTER_HOME, and holds the logs.
        backend: variables that say where runs and requests are.
    """

    def __init__(self, folder: Path, backend: Mapping[str, str]) -> None:
        self.folder = folder
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLOWCRAFT_", "DAGSTER_", "KAFKA_", "CASSANDRA_", "REDIS_"))
        }
        self.environment = {
            **own,
            **backend,
            "DAGSTER_HOME": str(folder),
            "FLOWCRAFT_APP": APP,
            "PYTHONUNBUFFERED": "1",
        }
        self.settings = Settings.from_env(self.environment)
        self.client: Client = load_app(APP).client(self.settings)
        self._dagster = ProcessTree()
        self._worker = ProcessTree()
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self._instance = dg.DagsterInstance.from_config(str(folder))

    def start_worker(self) -> None:
        """Start a worker; it works until the end of the test."""
        command = [sys.executable, "-m", "flowcraft_dagster.cli", "worker"]
        self._worker.start(command, environment=self.environment, folder=ROOT, log=self.folder / "worker.log")

    def start_dagster(self) -> None:
        """Start the daemon, which starts the code location and the launched runs."""
        command = [str(BIN / "dagster-daemon"), "run", "-m", "tests.integration.requests.location"]
        self._dagster.start(command, environment=self.environment, folder=ROOT, log=self.folder / "dagster.log")

    def kill_dagster(self, when: Callable[[], bool], what: str) -> None:
        """End the daemon, its code location and the launched runs at once, as a crash of their machine does."""
        found: list[FoundProcess] = []

        def is_time() -> bool:
            # Looked for before it is time: looking takes longer than a launch takes for some hundred requests.
            found[:] = self._dagster.find()
            return when()

        self.await_true(is_time, what)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self._dagster.kill()

    def list_runs(self, limit: int = MOST_RUNS) -> tuple[RunHeader, ...]:
        """Runs of the blueprint that the requests ask for."""
        return self.client.runs(RunQuery(blueprint_id="400", limit=limit))

    def count_shown(self) -> int:
        """Runs that Dagster shows on the asset of the blueprint."""
        batches: Counter[str] = Counter()
        for event in self._list_materializations(dg.AssetKey(["flowcraft", "400"])):
            # A batch that is reported again, after a crash, holds what it held before.
            name, runs = event.metadata["batch_id"].value, event.metadata["runs"].value
            assert isinstance(runs, int)
            batches[str(name)] = max(batches[str(name)], runs)
        return batches.total()

    def list_launches(self) -> Sequence[dg.DagsterRun]:
        """Dagster runs that were launched for requests."""
        return self._instance.get_runs(dg.RunsFilter(job_name="start_requested_flowcraft_runs"))

    def close(self) -> None:
        """End everything."""
        self._dagster.kill()
        self._worker.kill()
        self.client.close()
        self._instance.dispose()

    def await_true(self, is_there: Callable[[], bool], what: str) -> None:
        """Return once it is so; other processes make it so, and tell nobody."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_there():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s\n{self._describe()}"
            time.sleep(0.02)

    def _list_materializations(self, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
        found: list[dg.AssetMaterialization] = []
        cursor: str | None = None
        while True:
            page = self._instance.fetch_materializations(key, limit=1000, cursor=cursor)
            found += [record.asset_materialization for record in page.records if record.asset_materialization]
            if not page.has_more:
                return found
            cursor = page.cursor

    def _describe(self) -> str:
        launches = Counter(run.status.value for run in self.list_launches())
        runs = Counter(header.status for header in self.list_runs())
        log = (self.folder / "dagster.log").read_text(errors="replace").splitlines()[-20:]
        return "\n".join([f"launches: {dict(launches)}", f"runs: {dict(runs)}", *log])
