"""Running a file of cases through a backend.

In memory, one worker in this process executes all runs. Otherwise real worker processes do, over data of their own,
and this process is only a client. Cases run side by side; each has runs of its own, so they meet only in the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.conformance.app import CASES, DWELL, RECORD, TARGET, make_app
from flowcraft_dagster.testing.conformance.cases import Case, MalformedCase
from flowcraft_dagster.testing.conformance.comparison import find_differences, observe
from flowcraft_dagster.testing.conformance.driver import CaseDriver
from flowcraft_dagster.testing.conformance.killing import Killer
from flowcraft_dagster.testing.conformance.report import CaseOutcome, ConformanceReport
from flowcraft_dagster.testing.conformance.tally import RUN_PREFIX, Tally, TallyFile
from flowcraft_dagster.testing.environment import make_token, open_separate_backend, separate_environment
from flowcraft_dagster.testing.fleet import WorkerFleet
from flowcraft_dagster.timeouts import await_within

Progress = Callable[[CaseOutcome, ConformanceReport], None]


@dataclass(frozen=True)
class ConformanceOptions:
    """How the cases are run.

    Attributes:
        backend: ``memory``, ``embedded`` or ``kafka``.
        workers: worker processes; none in memory.
        kill_interval: mean seconds between kills of a random worker; None kills none.
        seed: of the kills.
        side_by_side: cases that run at a time.
        case_seconds: patience with one case.
        dwell_seconds: with kills, how much longer every node takes at the most, so that kills hit nodes.
        folder: data and logs; a temporary folder that is removed afterwards when None.
    """

    backend: str = "embedded"
    workers: int = 1
    kill_interval: float | None = None
    seed: int = 0
    side_by_side: int = 8
    case_seconds: float = 60.0
    dwell_seconds: float = 0.2
    folder: Path | None = None


class _Stage:
    """Where cases are run: a client, what counts the starts, and the workers, if there are any."""

    def __init__(self, client: AsyncClient, tally: Tally, fleet: WorkerFleet | None) -> None:
        self.client = client
        self.tally = tally
        self.fleet = fleet


class ConformanceRunner:
    """Runs cases and compares.

    Args:
        path: the file, which workers read too.
        cases: what was read from it.
        options: how.
        on_progress: called after every case.
    """

    def __init__(
        self,
        path: Path,
        cases: Sequence[Case | MalformedCase],
        options: ConformanceOptions,
        on_progress: Progress | None = None,
    ) -> None:
        self._path = path
        self._cases = cases
        self._options = options
        self._on_progress = on_progress
        self._token = make_token()
        self._report = ConformanceReport()
        self._outcomes: dict[int, CaseOutcome] = {}

    async def run(self) -> ConformanceReport:
        """Run all cases.

        Raises:
            FlowcraftError: the backend or the workers cannot be started.
        """
        runnable = [case for case in self._cases if isinstance(case, Case)]
        for case in self._cases:
            if isinstance(case, MalformedCase):
                self._note(case.index, CaseOutcome(case.name, case.category, f"malformed case: {case.reason}", {}))
        if runnable:
            async with self._open_stage(runnable) as stage:
                work = self._run_all(runnable, stage)
                await (work if stage.fleet is None else stage.fleet.guard(work))
                self._report.killed = 0 if stage.fleet is None else stage.fleet.killed
        self._report.cases = [self._outcomes[index] for index in sorted(self._outcomes)]
        return self._report

    # -- stages --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _open_stage(self, cases: list[Case]) -> AsyncIterator[_Stage]:
        if self._options.backend == "memory":
            tally = Tally()
            async with LocalRuntime(
                make_app(cases, tally.take_event), RuntimeOptions(timer_seconds=0.02, drain_seconds=1.0)
            ) as local:
                yield _Stage(local.client, tally, None)
            return
        with self._open_folder() as folder:
            record = folder / "starts.jsonl"
            environment = separate_environment(self._options.backend, folder, self._token)
            own = Settings.from_env({**os.environ, **environment})
            tally_file = TallyFile(record)
            app = make_app(cases, tally_file.take_event)
            async with open_separate_backend(own) as backend:
                client = app.async_client(own, backend=backend, dice=random.SystemRandom())
                environment |= {CASES: str(self._path.resolve()), RECORD: str(record)}
                if self._options.kill_interval is not None:
                    environment[DWELL] = str(self._options.dwell_seconds)
                async with WorkerFleet(TARGET, self._options.workers, environment, folder) as fleet:
                    yield _Stage(client, tally_file, fleet)

    @contextlib.contextmanager
    def _open_folder(self) -> Iterator[Path]:
        folder = self._options.folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
            return
        temporary = Path(tempfile.mkdtemp(prefix="conformance-"))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    # -- cases ---------------------------------------------------------------------------------------------------

    async def _run_all(self, cases: list[Case], stage: _Stage) -> None:
        killer, killing = None, None
        if self._options.kill_interval is not None and stage.fleet is not None:
            killer = Killer(
                stage.fleet,
                self._options.kill_interval,
                lambda pid: self._is_at_work(stage.tally, pid),
                self._options.seed,
            )
            killing = asyncio.ensure_future(killer.run())
        room = asyncio.Semaphore(self._options.side_by_side)
        running: list[asyncio.Task[None]] = []
        try:
            for number, case in enumerate(cases):
                if killer is not None:
                    await killer.admit(number, len(cases))
                await room.acquire()
                task = asyncio.ensure_future(self._run_one(case, stage))
                task.add_done_callback(lambda _: room.release())
                running.append(task)
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            if killing is not None and killer is not None:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
                self._report.killed_at_work = killer.at_work

    async def _run_one(self, case: Case, stage: _Stage) -> None:
        run_id = f"{RUN_PREFIX}{self._token}-{case.index}"
        driver = CaseDriver(stage.client, case, run_id)
        problem: str | None = None
        try:
            result = await await_within(driver.drive(), self._options.case_seconds)
        except asyncio.TimeoutError:
            problem = f"no end after {self._options.case_seconds:g} s"
        except FlowcraftError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            try:
                result = await await_within(driver.look(), 5.0)
            except (asyncio.TimeoutError, FlowcraftError):
                self._note(case.index, CaseOutcome(case.name, case.category, problem, {}))
                return
        observed = observe(case, result, stage.tally.read(run_id))
        differences = find_differences(case, observed, with_crashes=self._options.kill_interval is not None)
        if problem is not None:
            differences.insert(0, problem)
        got = {key: observed[key] for key in case.expect if key in observed}
        self._note(case.index, CaseOutcome(case.name, case.category, "; ".join(differences) or None, got))

    def _is_at_work(self, tally: Tally, pid: int) -> bool:
        if isinstance(tally, TallyFile):
            tally.catch_up()
        cases = {f"{RUN_PREFIX}{self._token}-{case.index}": case for case in self._cases if isinstance(case, Case)}
        for run_id, node_id in tally.list_running(pid):
            node = cases[run_id].blueprint.by_id.get(node_id) if run_id in cases else None
            # What is not in the blueprint is a batch item. Built-in nodes only wait, they do not run.
            if node is None or node.kind is None:
                return True
        return False

    def _note(self, index: int, outcome: CaseOutcome) -> None:
        self._outcomes[index] = outcome
        self._report.cases.append(outcome)
        if self._on_progress is not None:
            self._on_progress(outcome, self._report)
