"""Finished runs are forgotten in time, and only those that nobody may ask for any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import COMPLETED, FAILED, ParentLink, RunHeader
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.emission import ANCESTORS_TAG
from flowcraft_dagster.runtime.retention import SLICE, ForgettingPass, forget_finished_runs
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.contracts.samples import new_header, new_run, next_commit
from flowcraft_dagster.testing.simulation import SimulatedCluster
from flowcraft_dagster.wiring import make_backend
from tests.unit.runtime.stage import flow, make_app, node, play

LONG_AGO = 1_000.0
MINUTES = 1 / 1440


@pytest.fixture(params=["memory", "embedded"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    made = make_backend(Settings(backend=request.param, home=tmp_path), SystemClock())
    await made.open()
    yield made
    await made.close()


async def _add(backend: Backend, name: str, status: str = "running", **fields: Any) -> RunHeader:
    header = await new_run(backend.state, run_id=name, started_at=1.0, **fields)
    if status != "running":
        await backend.state.commit(next_commit(header, "end/a", status=status, now=LONG_AGO))
    return header


async def _names(backend: Backend, *names: str) -> str:
    found = [name for name in names if await backend.state.read_header(name) is not None]
    return " ".join(found)


async def test_old_runs_go_with_everything_and_others_stay(backend: Backend) -> None:
    await _add(backend, "old", COMPLETED)
    await _add(backend, "failed", FAILED)
    await _add(backend, "live")
    young = await new_run(backend.state, run_id="young")
    await backend.state.commit(next_commit(young, "end/a", status=COMPLETED, now=LONG_AGO + 1))
    done = await forget_finished_runs(backend, LONG_AGO + 0.5)
    assert (done.deleted, done.kept) == (2, 0)
    assert await _names(backend, "old", "failed", "live", "young") == "live young"
    assert await backend.state.load_run("old") is None
    assert (await forget_finished_runs(backend, LONG_AGO + 0.5)).deleted == 0


async def test_what_a_live_run_may_ask_for_stays(backend: Backend) -> None:
    below = {"parent": ParentLink("parent", "s", 1), "tags": {ANCESTORS_TAG: "parent"}}
    await _add(backend, "parent")
    await _add(backend, "child", COMPLETED, **below)
    middle = {"parent": ParentLink("child", "s", 1), "tags": {ANCESTORS_TAG: "parent,child"}}
    await _add(backend, "grandchild", COMPLETED, **middle)
    # Its end will wake the parent.
    await _add(backend, "impatient", FAILED)
    await _add(backend, "cancelling", parent=ParentLink("impatient", "s", 1))
    # A retry whose first owner has not come to it yet, and one that has taken over what it needs.
    await _add(backend, "retried", FAILED)
    await _add(backend, "retry", retry_of="retried")
    await _add(backend, "taken", FAILED)
    taking = await _add(backend, "taking", retry_of="taken")
    await backend.state.commit(next_commit(taking, "end/a"))
    done = await forget_finished_runs(backend, LONG_AGO + 1)
    finished = ("child", "grandchild", "impatient", "retried", "taken")
    assert await _names(backend, *finished) == "child grandchild impatient retried"
    assert (done.deleted, done.kept) == (1, 4)
    header = replace(taking, epoch=1, seq=1)
    await backend.state.commit(next_commit(header, "end/b", status=COMPLETED, now=LONG_AGO))
    for name in ("parent", "cancelling", "retry"):
        live = await backend.state.read_header(name)
        assert live is not None
        await backend.state.commit(next_commit(live, "end/a", status=COMPLETED, now=LONG_AGO))
    assert (await forget_finished_runs(backend, LONG_AGO + 1)).deleted == 8


async def test_a_pass_goes_on_where_an_error_stopped_it(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        await _add(backend, f"old-{number}", COMPLETED)
    whole = backend.state.delete_run
    refused: list[str] = []

    async def delete(run_id: str) -> None:
        if run_id == "old-12" and not refused:
            refused.append(run_id)
            raise StoreUnavailable("away", store="x")
        await whole(run_id)

    monkeypatch.setattr(backend.state, "delete_run", delete)
    forgetting = ForgettingPass(backend, LONG_AGO + 1)
    goes_on = True
    while goes_on:
        try:
            goes_on = await forgetting.forget_some(5)
        except StoreUnavailable:
            continue
    assert refused == ["old-12"]
    assert (await backend.index.scan_finished_runs(None, LONG_AGO + 1, 9)).headers == ()


# -- workers do it -----------------------------------------------------------------------------------------------

APP = (
    flow(node("a", "const", value=1), name="one"),
    flow(node("w", "wait"), name="ask"),
    flow(node("s", "subflow", blueprintId="one"), node("w", "wait"), name="parent"),
    flow(node("s", "subflow", {"timeout": 3_000_000}, blueprintId="one"), name="limited"),
)


async def _count(cluster: SimulatedCluster) -> int:
    page = await cluster.backend.index.scan_finished_runs(None, float("inf"), 1000)
    return len(page.headers)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_forget_what_is_old_in_small_pieces(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        present, largest = 0, 0
        whole = cluster.backend.state.delete_run

        async def delete(run_id: str) -> None:
            nonlocal present, largest
            present += 1
            largest = max(largest, present)
            await asyncio.sleep(0.01)
            await whole(run_id)
            present -= 1

        monkeypatch.setattr(cluster.backend.state, "delete_run", delete)
        await cluster.client.start_many([StartRequest("one", {}, f"run-{number}") for number in range(180)])
        await cluster.client.start(StartRequest("ask", {}, "asking"))
        await cluster.client.start(StartRequest("parent", {}, "parent"))
        while await _count(cluster) < 181:
            await cluster.clock.sleep(1)
        await cluster.clock.sleep(50)
        assert await _count(cluster) == 181
        await cluster.clock.sleep(60)
        # The child run of the live parent is there still.
        assert await _count(cluster) == 1
        assert 0 < largest <= SLICE
        for name in ("asking", "parent"):
            await cluster.client.resume(name, "w")
            await cluster.client.wait(name, 60)
        await cluster.clock.sleep(80)
        assert await _count(cluster) == 0
        assert cluster.journal.failures == []
        assert await cluster.backend.dead_letters.list_letters(9) == ()

    play(make_app(*APP), story, workers=workers, retention_days=MINUTES)


def test_nothing_is_forgotten_unless_asked_for() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("one", {}, "run"))
        await cluster.clock.sleep(5000)
        assert await _count(cluster) == 1

    play(make_app(*APP), story)


def test_an_outage_and_a_crash_delay_it() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start_many([StartRequest("one", {}, f"run-{number}") for number in range(20)])
        await cluster.clock.sleep(50)
        cluster.weather.store_down = True
        await cluster.clock.sleep(300)
        cluster.processes[0].kill()
        assert await _count(cluster) == 20
        cluster.weather.store_down = False
        await cluster.clock.sleep(120)
        assert await _count(cluster) == 0
        assert cluster.journal.failures == []

    play(make_app(*APP), story, workers=2, retention_days=MINUTES)


def test_timers_of_forgotten_runs_are_no_dead_letters() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("limited", {}, "run"))
        await cluster.client.wait("run", 60)
        # The time-out of the sub-flow is due long after both runs are gone.
        await cluster.clock.sleep(3300)
        assert await _count(cluster) == 0
        assert await cluster.backend.dead_letters.list_letters(9) == ()
        assert await cluster.backend.jobs.measure_lag() == 0
        assert cluster.processes[0].worker.counters["stale_timers"] == 1

    play(make_app(*APP), story, retention_days=MINUTES)


def test_a_retry_of_a_forgotten_run_does_nothing_twice() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        store: Any = cluster.backend.state
        header = new_header(run_id="retry", blueprint_id="one", retry_of="gone")
        blueprint = cluster.app.blueprints["one"]
        await store.create_run(replace(header, blueprint_hash=blueprint.content_hash), b"{}")
        await cluster.client._wake("retry")
        await cluster.clock.sleep(60)
        found = await cluster.client.status("retry")
        assert (found.status, found.seq) == ("running", 0)
        (letter,) = await cluster.backend.dead_letters.list_letters(9)
        assert "run 'gone' is not known" in letter.reason
        # A person can end it.
        await cluster.client.cancel("retry", "its predecessor is gone")
        assert (await cluster.client.wait("retry", 60)).status == "cancelled"

    play(make_app(*APP), story)
