"""The resources of a location: each is needed by something that has a name, and they are the same for every backend."""

from __future__ import annotations

import asyncio
import threading
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.connection import count_connections
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource
from flowcraft_dagster.runtime.portal import Portal
from tests.dagster.conftest import SAMPLE_APP, Site, WorkerThread

NEEDED_BY = {
    "flowcraft": "op 'start_flowcraft_runs_op'",
    "flowcraft_worker": "op 'flowcraft_drain_op'",
    "flowcraft_queue": "op 'flowcraft_runtime'",
    "flowcraft_store": "op 'flowcraft_servers'",
    "flowcraft_coordination": "op 'reconcile_flowcraft_runs_op'",
}


@lru_cache
def load_location() -> dg.Definitions:
    """This repository's location. Dagster warns about itself when it is made, so only a test may do it."""
    defs: dg.Definitions = import_module("definitions").defs
    return defs


def rebuild(without: str) -> dg.Definitions:
    """The location with a resource taken away."""
    defs = load_location()
    return dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        schedules=defs.schedules,
        sensors=defs.sensors,
        executor=defs.executor,
        resources={key: resource for key, resource in (defs.resources or {}).items() if key != without},
    )


def test_a_location_with_all_its_resources_loads() -> None:
    assert set(load_location().resources or {}) == set(NEEDED_BY)
    dg.Definitions.validate_loadable(rebuild("none of them"))


@pytest.mark.parametrize("key", list(NEEDED_BY))
def test_without_a_resource_something_fails_that_has_a_name(key: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=f"resource with key '{key}'") as caught:
        dg.Definitions.validate_loadable(rebuild(key))
    assert NEEDED_BY[key] in str(caught.value)


def test_all_resources_share_one_connection(site: Site) -> None:
    for key in ("flowcraft", "flowcraft_queue", "flowcraft_store", "flowcraft_coordination"):
        assert site.resources[key].connect().backend is site.connection.backend
    assert site.resources["flowcraft_worker"].workers() == ()
    assert count_connections() == 1


def test_fields_are_documented() -> None:
    for key, resource in build_flowcraft_resources(SAMPLE_APP).items():
        assert type(resource).__doc__, key
        for name, field in type(resource).model_fields.items():
            assert field.description or name in ("backend", "flowcraft"), f"{key}.{name}"


def test_the_queue_takes_requests_and_shows_what_waits(site: Site) -> None:
    queue = site.resources["flowcraft_queue"]
    queue.send_requests([b'{"blueprintId": "400", "context": {"n": 1}}'])
    site.client.start("400", {"n": 1})

    assert len(site.tick("flowcraft_run_request_sensor").run_requests) == 1
    assert queue.measure_lag() == 1
    assert queue.list_letters() == ()


def test_the_store_knows_runs(site: Site, worker: WorkerThread) -> None:
    store = site.resources["flowcraft_store"]
    run_id = site.client.start("400", {"n": 1})
    site.client.wait(run_id, 20)
    page = store.scan_finished_runs(None, 1e12, 10)

    assert [header.run_id for header in store.list_runs()] == [run_id]
    assert [header.run_id for header in page.headers] == [run_id]
    assert store.read_run(run_id).status == "completed"
    assert store.read_run("nosuch") is None


def test_a_lease_is_held_by_one_and_for_as_long_as_it_takes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    coordination = site.resources["flowcraft_coordination"]
    with coordination.hold_lease("x", 0.4) as first:
        with coordination.hold_lease("x", 0.4) as second:
            pass
        await_expiry(site, "x", 0.4)
        with coordination.hold_lease("x", 0.4) as third:
            pass
    with coordination.hold_lease("x", 0.4) as after:
        pass

    assert (first, second, third, after) == (True, False, False, True)


def await_expiry(site: Site, name: str, seconds: float) -> None:
    """Wait until the lease would have ended twice, had nobody renewed it."""
    store = site.connection.backend.coordination

    async def wait() -> None:
        # The store's own clock decides: another lease that is taken now is free again afterwards, twice.
        for turn in range(2):
            assert await store.acquire_lease(f"{name}/clock", f"owner-{turn}", seconds)
            while not await store.acquire_lease(f"{name}/clock", f"other-{turn}", seconds):
                await store.await_run("no such run", 0.02)
            await store.release_lease(f"{name}/clock", f"other-{turn}")

    site.connection.call(wait())


def test_a_backend_that_is_lost_while_a_lease_is_held_hides_no_error(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordination = site.resources["flowcraft_coordination"]
    connection = site.connection
    tried = threading.Event()

    async def away(*arguments: Any) -> None:
        tried.set()
        raise StoreUnavailable("no route to host", store="test")

    def hold() -> None:
        with coordination.hold_lease("x", 0.2):
            for name in ("acquire_lease", "release_lease"):
                monkeypatch.setattr(connection.backend.coordination, name, away)
            # More than once: the first failure did not end the renewing.
            for _ in range(2):
                tried.clear()
                assert tried.wait(30)
            raise KeyError("what the body says")

    with pytest.raises(KeyError, match="what the body says"):
        hold()


@pytest.mark.parametrize("key", ["flowcraft_queue", "flowcraft_store", "flowcraft_coordination"])
def test_health_is_said_and_never_raised(site: Site, key: str) -> None:
    resource = site.resources[key]
    site.home.parent.mkdir(exist_ok=True)
    site.home.write_text("a file in the way")
    (away,) = resource.check_health()
    site.home.unlink()
    (well,) = resource.check_health()

    assert (away.ok, well.ok) == (False, True)
    assert str(site.home) in away.detail


def test_wrong_settings_are_a_report_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_BACKEND", "punched cards")
    (report,) = build_flowcraft_resources(SAMPLE_APP)["flowcraft_queue"].check_health()

    assert not report.ok
    assert "FLOWCRAFT_BACKEND" in report.detail


def drain(site: Site, **bounds: Any) -> Any:
    return site.resources["flowcraft_worker"].drain(**bounds)


def test_a_worker_works_until_nothing_is_left(site: Site) -> None:
    run_ids = [site.client.start("400", {"n": n}) for n in range(5)]
    report = drain(site, max_seconds=30, idle_seconds=0.2)

    assert (report.is_idle, report.jobs, report.left) == (True, 5, 0)
    assert [site.client.result(run_id).status for run_id in run_ids] == ["completed"] * 5


def test_a_worker_takes_no_more_jobs_than_it_may(site: Site) -> None:
    for n in range(5):
        site.client.start("400", {"n": n})
    report = drain(site, max_jobs=2, max_seconds=30)

    assert (report.is_idle, report.jobs, report.left) == (False, 2, 3)
    assert sorted(header.status for header in site.client.runs()) == ["completed"] * 2 + ["running"] * 3


def test_a_worker_leaves_what_it_has_no_time_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_DRAIN_SECONDS", "0.1")
    run_id = site.client.start("lingers", {"n": 1})
    report = drain(site, max_seconds=0.5)

    assert not report.is_idle
    assert report.left == 1
    assert site.client.status(run_id).status == "running"


def test_an_interrupted_worker_leaves_before_it_is_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_DRAIN_SECONDS", "0.1")
    run_id = site.client.start("lingers", {"n": 1})
    wait = Portal.call

    def interrupted(portal: Portal, work: Any) -> Any:
        """The first wait for a worker ends as Dagster ends it, once the worker is at work."""
        if work.__name__ != "_drain":
            return wait(portal, work)
        future = asyncio.run_coroutine_threadsafe(work, portal._start())
        worker_at_work(site)
        future.cancel()
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(Portal, "call", interrupted)
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        drain(site, max_seconds=30)
    monkeypatch.undo()

    records = site.connection.call(site.connection.backend.workers.list_workers(0.0))
    assert [record.state for record in records] == ["stopped"]
    assert site.client.status(run_id).status == "running"


def worker_at_work(site: Site) -> None:
    """Wait until somebody has taken up the run."""
    backend = site.connection.backend

    async def wait() -> None:
        while not any(header.epoch for header in (await backend.index.scan_live_runs(None, 10)).headers):
            await backend.coordination.await_run("no such run", 0.02)

    site.connection.call(wait())


def test_workers_that_are_alive_are_seen_with_their_health(site: Site, worker: WorkerThread) -> None:
    seen = site.resources["flowcraft_worker"]
    site.client.wait(site.client.start("400", {"n": 1}), 20)
    worker.call(worker.worker._heartbeat.record("alive"))
    (record,) = seen.workers()
    (report,) = seen.health()

    assert (record.worker_id, report.name, report.ok) == (worker.worker.worker_id, record.slot, True)
    assert report.detail == "0 runs held, 1 messages taken"
    worker.stop()
    assert seen.workers() == ()
    assert seen.health() == []


def test_the_folder_of_the_definitions_is_the_same_for_every_resource(tmp_path: Path) -> None:
    resources = build_flowcraft_resources(SAMPLE_APP, EmbeddedStoreResource(home=str(tmp_path / "here")))
    for key in ("flowcraft_queue", "flowcraft_store", "flowcraft_coordination"):
        assert resources[key].connect().settings.home == tmp_path / "here"
