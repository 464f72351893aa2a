"""Runs that wait for a sub-flow: kept in memory, and never trusted further than a conditional write goes."""

from __future__ import annotations

import gc
import itertools
import random
import tracemalloc
from typing import Any

import pytest

from flowcraft_dagster.blueprint.parse import parse_blueprint
from flowcraft_dagster.engine.decide import RunState
from flowcraft_dagster.engine.facts import Opened
from flowcraft_dagster.engine.plan import make_plan
from flowcraft_dagster.ports.records import RUNNING, RunHeader, StoredRun
from flowcraft_dagster.runtime import parking
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.parking import LARGE_BYTES, PARKED_SECONDS, ParkedRuns
from flowcraft_dagster.testing.simulation import SimulatedCluster
from tests.unit.runtime.stage import flow, make_app, node, play
from tests.unit.stepped_clock import SteppedClock

SUB = node("sub", "subflow", blueprintId="child")
PARENT = flow(SUB, node("after", "echo"), edges="sub>after")
CHILD = flow(node("w", "slow", ms=5_000, value=7), name="child")


def count_loads(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that are read from now on, in their order."""
    loads: list[str] = []
    state = cluster.backend.state
    load, claim = state.load_run, state.claim_run

    async def load_run(run_id: str) -> StoredRun | None:
        loads.append(run_id)
        return await load(run_id)

    async def claim_run(run_id: str, owner: str) -> StoredRun | None:
        loads.append(f"claim {run_id}")
        return await claim(run_id, owner)

    monkeypatch.setattr(state, "load_run", load_run)
    monkeypatch.setattr(state, "claim_run", claim_run)
    return loads


def test_a_run_is_read_once_however_often_a_sub_flow_of_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    subs = [node(f"s{n}", "subflow", blueprintId="child") for n in range(3)]

    async def story(cluster: SimulatedCluster) -> None:
        loads = count_loads(cluster, monkeypatch)
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 60)
        assert result.outputs["s2"] == 7
        assert loads.count("run") == 1 + 1, "once by the worker, once by the client that wants the result"
        children = [name for name in loads if name not in ("run",)]
        assert sorted(children.count(name) for name in set(children)) == [2, 2, 2]

    play(make_app(flow(*subs, edges="s0>s1 s1>s2"), CHILD), story)


def test_what_another_message_may_tell_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        assert len(cluster.processes[0].worker._services.parked) == 1
        loads = count_loads(cluster, monkeypatch)
        await cluster.client.cancel("run", "enough")
        result = await cluster.client.wait("run", 60)
        assert (result.status, result.reason) == ("cancelled", "enough")
        assert "run" in loads

    play(make_app(PARENT, CHILD), story)


@pytest.mark.parametrize("durability", ["node", "segment"])
def test_a_run_that_another_owner_took_meanwhile_is_continued_from_what_is_stored(durability: str) -> None:
    ran: list[str] = []

    async def note(ctx: Any) -> str:
        ran.append(ctx.idempotency_key)
        return "noted"

    app = make_app(flow(SUB, node("after", "note"), edges="sub>after"), CHILD, note=note)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        worker = cluster.processes[0].worker
        assert len(worker._services.parked) == 1
        stored = await cluster.backend.state.claim_run("run", "somebody-else")
        assert stored is not None
        result = await cluster.client.wait("run", 60)
        assert result.status == "completed"
        assert worker.counters["ownership_lost"] == 1
        assert ran == ["run/after"]

    play(app, story, durability=durability)


def test_a_worker_that_loses_a_partition_forgets_them() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        worker = cluster.processes[0].worker
        assert len(worker._services.parked) == 1
        await worker._revoke(frozenset({0}), 1.0)
        assert len(worker._services.parked) == 0
        assert (await cluster.client.wait("run", 60)).status == "completed"

    play(make_app(PARENT, CHILD), story)


def make_run(run_id: str, *, waits: bool = True) -> OwnedRun:
    blueprint = parse_blueprint(PARENT)
    state = RunState(make_plan(blueprint), {})
    if waits:
        state.apply([Opened("sub", "subflow", 1, 0.0, {"childRunId": "c"})])
    header = RunHeader(run_id, "main", blueprint.content_hash, "h", RUNNING, 1, "me", 1, 0.0, 0.0)
    return OwnedRun(header, blueprint, state, [])


def test_only_runs_that_wait_for_a_sub_flow_are_kept_and_large_ones_are_not() -> None:
    runs = ParkedRuns(SteppedClock())
    runs.park(make_run("busy", waits=False))
    large = make_run("large")
    large.memory_bytes = LARGE_BYTES + 1
    runs.park(large)
    cancelling = make_run("cancelling")
    cancelling.state.is_cancelling = True
    runs.park(cancelling)
    assert len(runs) == 0
    run = make_run("run")
    runs.park(run)
    assert runs.take("run") is run
    assert runs.take("run") is None


def test_a_run_is_kept_for_a_minute() -> None:
    clock = SteppedClock()
    runs = ParkedRuns(clock)
    runs.park(make_run("run"))
    clock.time += PARKED_SECONDS + 1
    assert runs.take("run") is None


def test_the_longest_parked_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_RUNS", 10)
    runs = ParkedRuns(SteppedClock())
    names = [f"run-{n}" for n in range(15)]
    for name in names:
        runs.park(make_run(name))
    kept = [name for name in random.Random(0).sample(names, 15) if runs.take(name) is not None]
    assert sorted(kept) == sorted(names[5:])


def test_all_of_them_have_an_upper_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_BYTES", 1000)
    runs = ParkedRuns(SteppedClock())
    for number in range(30):
        run = make_run(f"run-{number}")
        run.memory_bytes = 300
        runs.park(run)
        assert len(runs) == min(number + 1, 3)
    assert runs.take("run-27") is not None
    runs.clear()
    for name in "abc":
        run = make_run(name)
        run.memory_bytes = 300
        runs.park(run)
    assert len(runs) == 3, "what was taken and forgotten counts no more"


def test_what_is_too_old_leaves_with_the_next_one_that_comes() -> None:
    clock = SteppedClock()
    runs = ParkedRuns(clock)
    runs.park(make_run("old"))
    clock.time += PARKED_SECONDS + 1
    runs.park(make_run("new"))
    assert len(runs) == 1


@pytest.mark.parametrize("length", [1, 40, 200])
def test_the_memory_of_a_run_is_not_underrated(length: int) -> None:
    chain = [node("n0", "const", value=1), *(node(f"n{place}", "add") for place in range(1, length)), SUB]
    edges = " ".join(f"{left['id']}>{right['id']}" for left, right in itertools.pairwise(chain))
    child = flow(node("w", "wait"), name="child")

    async def story(cluster: SimulatedCluster) -> tuple[int, int]:
        names = [f"run-{number}" for number in range(10)]
        for name in names:
            await cluster.client.start(StartRequest("main", {}, name))
        await cluster.clock.sleep(30)
        parked = cluster.processes[0].worker._services.parked
        assert len(parked) == len(names)
        estimated = parked._bytes
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        parked.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return estimated, before - after

    tracemalloc.start()
    try:
        estimated, freed = play(make_app(flow(*chain, edges=edges), child), story)
    finally:
        tracemalloc.stop()
    assert freed / 1.5 < estimated < freed * 5
