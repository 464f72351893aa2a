"""Killed Dagster runs: their workflows are cancelled, unless they were to be kept or the step had decided itself."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster import StartRequest
from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.labels import DAGSTER_RUN_TAG, KEEP_TAG
from flowcraft_dagster.orchestration.run_failures import build_flowcraft_run_failure_sensor
from tests.dagster.conftest import Site, WorkerThread

SENSOR = "flowcraft_run_failure_sensor"
FAILURE, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


def begin(site: Site) -> dg.DagsterRun:
    """A Dagster run whose process starts a workflow and waits for it."""
    job = site.definitions.resolve_job_def("start_flowcraft_runs")
    return site.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)


def kill(site: Site, run: dg.DagsterRun, status: dg.DagsterRunStatus = FAILURE) -> None:
    """It ends without a word of its step."""
    if status == FAILURE:
        site.instance.report_run_failed(run)
    else:
        site.instance.report_run_canceled(run)


def start_workflow(site: Site, run: dg.DagsterRun | None, **tags: str) -> str:
    mine = {} if run is None else {DAGSTER_RUN_TAG: run.run_id}
    return site.client.start("lingers", {"n": 1}, tags={**mine, **tags})


def status_of(site: Site, run_id: str) -> str:
    return site.client.status(run_id).status


def end(site: Site, *run_ids: str) -> None:
    for run_id in run_ids:
        site.client.cancel(run_id)
        site.client.wait(run_id, 20)


@pytest.mark.parametrize("status", [FAILURE, CANCELED])
def test_workflows_of_a_killed_run_are_cancelled_or_kept(
    site: Site, worker: WorkerThread, status: dg.DagsterRunStatus
) -> None:
    run = begin(site)
    mine, kept, other = (
        start_workflow(site, run),
        start_workflow(site, run, **{KEEP_TAG: "true"}),
        start_workflow(site, None),
    )
    first = site.tick(SENSOR)
    kill(site, run, status)
    second = site.tick(SENSOR, first.cursor)

    assert first.skip_message == "no Dagster run has failed since"
    assert second.skip_message == "1 Dagster runs have failed: asked 1 workflow runs to end, kept 1"
    assert site.client.wait(mine, 20).reason == "its Dagster run was killed"
    assert (status_of(site, kept), status_of(site, other)) == ("running", "running")
    end(site, kept, other)


def test_a_repeated_tick_asks_nobody_again(site: Site, worker: WorkerThread) -> None:
    run = begin(site)
    mine = start_workflow(site, run)
    kill(site, run)
    first = site.tick(SENSOR)
    second = site.tick(SENSOR, first.cursor)
    lost = site.tick(SENSOR)

    site.client.wait(mine, 20)
    assert second.skip_message == "no Dagster run has failed since"
    assert second.cursor == first.cursor
    # Its cursor was lost: the same run is looked at once more, and nothing is left to do.
    assert lost.skip_message.startswith("1 Dagster runs have failed")


def test_what_failed_before_the_sensor_was_switched_on_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(site)
    mine = start_workflow(site, run)
    kill(site, run)
    sensor = build_flowcraft_run_failure_sensor(minimum_interval_seconds=-60)
    first = site.evaluate(sensor)

    assert first.skip_message == "no Dagster run has failed since"
    assert site.evaluate(sensor, first.cursor).skip_message == "no Dagster run has failed since"
    assert status_of(site, mine) == "running"


@pytest.mark.parametrize("cursor", ["{", "[]", '{"version": 2}', '{"version": 1, "places": {"failed": 3}}'])
def test_an_unusable_cursor_begins_anew_and_says_so(site: Site, worker: WorkerThread, cursor: str) -> None:
    run = begin(site)
    mine = start_workflow(site, run)
    kill(site, run)
    site.tick(SENSOR, cursor)

    (line,) = site.log.lines
    assert line.startswith("the cursor is not used, since it ")
    assert site.client.wait(mine, 20).status == "cancelled"


def test_a_store_that_is_away_skips_the_tick_and_the_next_one_cancels(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(site)
    mine = start_workflow(site, run)
    before = site.tick(SENSOR).cursor
    kill(site, run)

    async def away(*args: Any) -> Any:
        raise StoreUnavailable("no route to host", store="test")

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.index, "scan_live_runs", away)
        skipped = site.tick(SENSOR, before)
    recovered = site.tick(SENSOR, skipped.cursor)

    assert "no route to host. The next tick tries again." in skipped.skip_message
    assert skipped.cursor == before
    assert recovered.skip_message.startswith("1 Dagster runs have failed: asked 1")
    assert site.client.wait(mine, 20).status == "cancelled"


def test_a_step_that_ran_out_of_time_has_decided_that_its_workflow_goes_on(site: Site) -> None:
    config = {"blueprint_id": "lingers", "context": {"n": 1}, "timeout_seconds": 0.05}
    before = site.tick(SENSOR).cursor
    result = site.run_job("start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": config}}})
    said = site.tick(SENSOR, before).skip_message

    assert said == "1 Dagster runs have failed, all by themselves: they have decided about their workflows"
    assert status_of(site, result.run_id) == "running"


@pytest.mark.parametrize(("jobs", "asked"), [(["start_flowcraft_runs"], 1), (["another"], 0)])
def test_only_runs_of_the_watched_jobs_count(site: Site, worker: WorkerThread, jobs: list[str], asked: int) -> None:
    run = begin(site)
    mine = start_workflow(site, run)
    sensor = build_flowcraft_run_failure_sensor(jobs=jobs)
    before = site.evaluate(sensor).cursor
    kill(site, run)
    said = site.evaluate(sensor, before).skip_message

    assert f"asked {asked} workflow" in said if asked else said == "no Dagster run has failed since"
    end(site, mine)


def test_many_failed_runs_are_looked_at_in_pieces(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.run_failures.MOST_CHANGES", 2)
    cursor = site.tick(SENSOR).cursor
    runs = [begin(site) for _ in range(5)]
    workflows = [start_workflow(site, run) for run in runs]
    for run in runs:
        kill(site, run)
    for _ in range(3):
        cursor = site.tick(SENSOR, cursor).cursor

    assert {site.client.wait(run_id, 20).status for run_id in workflows} == {"cancelled"}
    assert site.tick(SENSOR, cursor).skip_message == "no Dagster run has failed since"


def test_a_workflow_is_found_behind_thousands_of_younger_ones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.run_failures.PAGE", 50)
    others = [StartRequest("lingers", {"n": n}) for n in range(60)]
    run = begin(site)
    site.client.start_many(others)
    start_workflow(site, run)
    site.client.start_many(others)
    before = site.tick(SENSOR).cursor
    kill(site, run)

    async def list_latest(query: Any) -> tuple[Any, ...]:
        # As the store on Cassandra: of very many live runs, the latest.
        return ()

    monkeypatch.setattr(site.connection.backend.index, "list_runs", list_latest)
    assert site.tick(SENSOR, before).skip_message == "1 Dagster runs have failed: asked 1 workflow runs to end, kept 0"


def test_what_one_tick_has_no_time_for_is_asked_to_end_by_the_next(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(site)
    workflows = [start_workflow(site, run) for _ in range(3)]
    before = site.tick(SENSOR).cursor
    kill(site, run)
    with monkeypatch.context() as patch:
        patch.setattr("flowcraft_dagster.orchestration.run_failures.CANCEL_SECONDS", -1.0)
        first = site.tick(SENSOR, before)
    second = site.tick(SENSOR, first.cursor)

    assert first.skip_message.endswith("asked 0 workflow runs to end, kept 0; 3 more next time")
    assert first.cursor == before
    assert second.skip_message.endswith("asked 3 workflow runs to end, kept 0")
    assert {site.client.wait(run_id, 20).status for run_id in workflows} == {"cancelled"}
