"""Stories for the search: a small run, and what befalls the processes that execute it at points of the protocol."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.records import Message, RunQuery
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.faults import FaultPoint, arm, disarm
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.conformance.nodes import nodes
from flowcraft_dagster.testing.simulation import (
    SimulatedClock,
    SimulatedCluster,
    SimulationStalled,
    Weather,
    run_simulated,
)
from tests.simulation.embedded import SharedFile
from tests.simulation.workloads import WORKLOADS, Workload

FATES = ("kill", "freeze", "lose", "raise", "fail", "delay", "duplicate")
BACKENDS = ("memory", "embedded")
PATIENCE = 1200.0
BAD_MESSAGES = (b"", b"no JSON", b"[]", b'{"runId": 5}', b'{"runId": "\x01"}', b'{"runId":"nobody"}')
OPTIONS = RuntimeOptions(
    timer_seconds=0.5,
    heartbeat_seconds=5,
    anchor_seconds=10,
    retry_max_seconds=2,
    drain_seconds=5,
    unknown_run_attempts=2,
)


@dataclass(frozen=True)
class Happening:
    """Something that befalls a process.

    Attributes:
        point: where.
        passing: the how-manieth passing of the point it is.
        fate: see ``SimulatedCluster.strike``.
        seconds: how long it takes.
    """

    point: FaultPoint
    passing: int
    fate: str
    seconds: float = 8.0


@dataclass(frozen=True)
class Story:
    """One simulation.

    Attributes:
        workload: name of what runs.
        happenings: what befalls whom.
        backend: memory or embedded.
        workers: processes.
        weather: of the network.
        outages: when servers are away: from, for how long, which.
        bad_messages: places of ``BAD_MESSAGES`` that are put into the run's own partition.
        runs: how many runs there are at a time.
        options: of workers and clients, where they differ from ``OPTIONS``.
        skew: by how many seconds clocks differ.
        reconciles: whether a reconciler wakes everything again and again.
        steals: whether somebody claims live runs now and then and does nothing with them, so that what workers
            remember of them is stale.
        seed: of everything else.
    """

    workload: str
    happenings: tuple[Happening, ...] = ()
    backend: str = "memory"
    workers: int = 2
    weather: Weather = field(default_factory=Weather)
    outages: tuple[tuple[float, float, str], ...] = ()
    bad_messages: tuple[int, ...] = ()
    runs: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    skew: float = 0.0
    reconciles: bool = False
    steals: bool = False
    seed: int = 0

    def play(self) -> list[str]:
        """Everything that is not as it must be."""
        try:
            return run_simulated(self._run, self.seed)
        except SimulationStalled as stalled:
            return [str(stalled)]

    async def _run(self, clock: SimulatedClock, dice: random.Random) -> list[str]:
        if self.backend == "memory":
            return await self._tell(clock, dice, None)
        with closing(SharedFile(clock)) as file:
            return await self._tell(clock, dice, file)

    async def _tell(self, clock: SimulatedClock, dice: random.Random, file: SharedFile | None) -> list[str]:
        workload = WORKLOADS[self.workload]
        passed: Counter[FaultPoint] = Counter()
        async with SimulatedCluster(
            Flowcraft(workload.blueprints, nodes),
            clock,
            dice,
            workers=self.workers,
            weather=replace(self.weather),
            settings=Settings(backend="memory", options=replace(OPTIONS, **dict(self.options))),
            skew_seconds=self.skew,
            open_backend=None if file is None else file.open_process,
        ) as cluster:
            async def meet(point: FaultPoint) -> None:
                passed[point] += 1
                for happening in self.happenings:
                    if happening.point is point and happening.passing == passed[point]:
                        await cluster.strike(happening.fate, seconds=happening.seconds)

            for point in FaultPoint:
                arm(point, meet)
            disturbing = [
                asyncio.ensure_future(work)
                for work in (self._disturb(cluster), self._reconcile(cluster), self._steal(cluster))
            ]
            for place in self.bad_messages:
                await cluster.backend.jobs.send([Message("run", BAD_MESSAGES[place])])
            names = ["run", *(f"run-{number}" for number in range(1, self.runs))]
            driving = asyncio.gather(*(self._drive(cluster, workload, name) for name in names))
            try:
                problems = [problem for found in await asyncio.wait_for(driving, PATIENCE) for problem in found]
                if not self.happenings:
                    _PASSED[self.workload, self.backend] = passed
            except asyncio.TimeoutError:
                headers = [await cluster.backend.state.read_header(name) for name in names]
                left = [header for header in headers if header is None or not header.is_final]
                problems = [f"lost: no end after {PATIENCE} s, {left}"]
            finally:
                disarm()
                for task in disturbing:
                    task.cancel()
            return problems + await self._judge(cluster)

    async def _disturb(self, cluster: SimulatedCluster) -> None:
        for begin, seconds, which in self.outages:
            await cluster.clock.sleep(max(0.0, begin - cluster.clock.monotonic()))
            cluster.weather.store_down = which != "queue"
            cluster.weather.queue_down = which != "store"
            try:
                await cluster.clock.sleep(seconds)
            finally:
                cluster.weather.store_down = cluster.weather.queue_down = False

    async def _reconcile(self, cluster: SimulatedCluster) -> None:
        reconciler = cluster.reconciler(5.0)
        while self.reconciles:
            await cluster.clock.sleep(20)
            with suppress(InfrastructureError):
                await reconciler.run(everything=cluster.dice.random() < 0.2)

    async def _steal(self, cluster: SimulatedCluster) -> None:
        for _ in range(20 if self.steals else 0):
            await cluster.clock.sleep(cluster.dice.random() * 5)
            for run in await cluster.backend.index.list_runs(RunQuery(with_children=True)):
                header = await cluster.backend.state.read_header(run.run_id)
                # Nobody claims a run that no message has told him of: one without a commit may have none yet.
                if header is not None and header.seq and not header.is_final and cluster.dice.random() < 0.5:
                    await cluster.backend.state.claim_run(run.run_id, "somebody-else")

    async def _drive(self, cluster: SimulatedCluster, workload: Workload, name: str) -> list[str]:
        client = cluster.client
        await _insist(lambda: client.start(StartRequest("main", {}, name)))
        if workload.answer is not None or workload.cancel:
            await _insist(lambda: client.wait_for_pause(name, PATIENCE))
        if workload.answer is not None:
            await _insist(lambda: client.resume(name, str(workload.answer), output="yes", request_id="once"))
        if workload.cancel:
            await _insist(lambda: client.cancel(name, "no longer wanted"))
        result = await _insist(lambda: client.wait(name, PATIENCE))
        problems = []
        if result.status != workload.status or dict(result.outputs) != dict(workload.outputs):
            told = f"{result.status} with {result.outputs}, errors {[error.message for error in result.errors]}"
            problems.append(f"ended {told}, not {workload.status} with {workload.outputs}")
        # Whatever is still on its way must change nothing.
        await cluster.clock.sleep(15 + max((happening.seconds for happening in self.happenings), default=0.0))
        again = await _insist(lambda: client.result(name))
        if again.to_json() != result.to_json():
            problems.append(f"changed after its end: {result.to_json()} became {again.to_json()}")
        return problems

    async def _judge(self, cluster: SimulatedCluster) -> list[str]:
        backend = cluster.backend
        # Repeated messages and put back ones take their time.
        for _ in range(1200):
            if await backend.jobs.measure_lag() == 0:
                break
            await cluster.clock.sleep(0.5)
        if any(happening.fate == "raise" for happening in self.happenings):
            # What nobody foresees may end a worker; another one takes its place.
            cluster.journal.failures.clear()
        if dict(self.options).get("durability") == "segment":
            # A chain is committed together: its nodes start before their sources are durable.
            cluster.journal.early.clear()
        problems = await cluster.journal.find_faults(backend.state)
        lag = await backend.jobs.measure_lag()
        if lag:
            problems.append(f"{lag} messages were never settled")
        runs = await backend.index.list_runs(RunQuery(with_children=True))
        problems += [f"{run.run_id} is {run.status}" for run in runs if not run.is_final]
        # A message comes at least once, and so do its letters.
        letters = {letter.value for letter in await backend.dead_letters.list_letters(1000)}
        wanted = {BAD_MESSAGES[place] for place in self.bad_messages}
        if letters != wanted:
            problems.append(f"dead letters {sorted(letters)}, not {sorted(wanted)}")
        return problems


_PASSED: dict[tuple[str, str], Counter[FaultPoint]] = {}


def count_passings(workload: str, backend: str) -> Counter[FaultPoint]:
    """How often a workload passes each point when nothing happens."""
    key = (workload, backend)
    if key not in _PASSED:
        Story(workload, backend=backend).play()
    return _PASSED[key]


async def _insist(call: Any) -> Any:
    """A user who tries again after an error of a server."""
    while True:
        try:
            return await call()
        except InfrastructureError:
            await asyncio.sleep(0.5)
