"""A worker that dies at any step of the commit protocol loses nothing and does nothing twice."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import RunQuery
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.faults import FaultPoint, arm, disarm
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.conformance.nodes import nodes
from flowcraft_dagster.testing.simulation import (
    SimulatedClock,
    SimulatedCluster,
    Weather,
    run_simulated,
)
from tests.simulation.workloads import WORKLOADS, Document, Workload

SETTINGS = Settings(
    backend="memory",
    options=RuntimeOptions(timer_seconds=0.5, heartbeat_seconds=5, retry_max_seconds=2, drain_seconds=5),
)
CLIENT_POINTS = {FaultPoint.AFTER_START_CREATED, FaultPoint.AFTER_SIGNAL}


@dataclass
class Outcome:
    """What was observed."""

    status: str
    outputs: Document
    faults: list[str]
    passed: int
    statuses: dict[str, str] = field(default_factory=dict)


async def _insist(call: Any) -> Any:
    """A user who tries again after an error of a server."""
    while True:
        try:
            return await call()
        except QueueUnavailable:
            await asyncio.sleep(0.1)


async def _drive(cluster: SimulatedCluster, workload: Workload) -> Outcome:
    client = cluster.client
    await _insist(lambda: client.start(StartRequest("main", {}, "run")))
    if workload.answer is not None or workload.cancel:
        await client.wait_for_pause("run", 600)
    if workload.answer is not None:
        await _insist(lambda: client.resume("run", str(workload.answer), output="yes", request_id="once"))
    if workload.cancel:
        await _insist(lambda: client.cancel("run", "no longer wanted"))
    result = await client.wait("run", 600)
    # Whatever is still on its way must change nothing.
    await cluster.clock.sleep(15)
    again = await client.result("run")
    faults = await cluster.journal.find_faults(cluster.backend.state)
    if again.to_json() != result.to_json():
        faults.append(f"the run changed after its end: {again.to_json()}")
    lag = await cluster.backend.jobs.measure_lag()
    if lag:
        faults.append(f"{lag} messages were never settled")
    runs = await cluster.backend.index.list_runs(RunQuery(with_children=True))
    return Outcome(again.status, dict(again.outputs), faults, 0, {run.run_id: run.status for run in runs})


def play(
    workload: Workload,
    *,
    crash_at: FaultPoint | None = None,
    fate: str = "kill",
    passing: int = 1,
    weather: Weather | None = None,
    seed: int = 0,
) -> Outcome:
    """Run a workload; the first process that passes a point for the ``passing``-th time meets its fate there."""

    async def main(clock: SimulatedClock, dice: random.Random) -> Outcome:
        app = Flowcraft(workload.blueprints, nodes)
        async with SimulatedCluster(app, clock, dice, workers=2, weather=weather, settings=SETTINGS) as cluster:
            passed = 0

            async def strike(point: FaultPoint) -> None:
                nonlocal passed
                passed += 1
                if passed != passing:
                    return
                if point in CLIENT_POINTS:
                    raise QueueUnavailable("the client died here", queue="simulated")
                await cluster.strike(fate, seconds=8)

            if crash_at is not None:
                arm(crash_at, strike)
            try:
                outcome = await _drive(cluster, workload)
            finally:
                disarm()
            outcome.passed = passed
            return outcome

    return run_simulated(main, seed)


def _check(workload: Workload, outcome: Outcome) -> None:
    assert outcome.faults == []
    assert outcome.status == workload.status
    assert outcome.outputs == workload.outputs
    assert set(outcome.statuses.values()) <= {"completed", "failed", "cancelled"}


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("fate", ["kill", "freeze", "lose"])
def test_a_crash_at_any_point_loses_nothing(name: str, fate: str) -> None:
    workload = WORKLOADS[name]
    reached = set()
    for point in FaultPoint:
        for passing in (1, 2):
            outcome = play(workload, crash_at=point, fate=fate, passing=passing)
            if outcome.passed:
                reached.add(point)
            if outcome.passed < passing:
                break
            _check(workload, outcome)
    assert {FaultPoint.BEFORE_COMMIT, FaultPoint.AFTER_COMMIT, FaultPoint.BEFORE_SETTLE} <= reached


def test_every_point_is_reached_by_some_workload() -> None:
    for point in FaultPoint:
        if point is FaultPoint.AFTER_CLAIM:
            continue
        assert any(play(workload, crash_at=point, passing=99).passed for workload in WORKLOADS.values()), point


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_message_twice_changes_nothing(name: str) -> None:
    for seed in range(3):
        _check(WORKLOADS[name], play(WORKLOADS[name], weather=Weather(duplicate_chance=1.0), seed=seed))


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_order_of_messages_does_not_matter(name: str) -> None:
    for seed in range(3):
        weather = Weather(delay_seconds=1.0, duplicate_chance=0.3, reorder_chance=1.0)
        _check(WORKLOADS[name], play(WORKLOADS[name], weather=weather, seed=seed))


@pytest.mark.parametrize("name", WORKLOADS)
def test_servers_that_answer_badly_fail_no_run(name: str) -> None:
    for seed in range(3):
        weather = Weather(delay_seconds=0.2, failure_chance=0.3)
        workload = WORKLOADS[name]

        async def main(
            clock: SimulatedClock, dice: random.Random, workload: Workload = workload, weather: Weather = weather
        ) -> Outcome:
            app = Flowcraft(workload.blueprints, nodes)
            async with SimulatedCluster(app, clock, dice, weather=weather, settings=SETTINGS) as cluster:
                patient = _Patient(cluster)
                return await _drive(patient, workload)  # type: ignore[arg-type]

        _check(workload, run_simulated(main, seed))


class _Patient:
    """A cluster whose client sees the backend without the bad network."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.client = cluster.app.async_client(
            SETTINGS, backend=cluster.backend, clock=cluster.clock, dice=cluster.dice
        )
        self.clock, self.journal, self.backend = cluster.clock, cluster.journal, cluster.backend
