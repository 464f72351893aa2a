"""Killed Dagster runs: their workflows are cancelled, unless they were to be kept or the step had decided itself."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.labels import CLIENT_KEY, DAGSTER_RUN_TAG, KEEP_TAG
from tests.dagster.conftest import Site, WorkerThread

SENSORS = {
    dg.DagsterRunStatus.FAILURE: "flowcraft_run_failure_sensor",
    dg.DagsterRunStatus.CANCELED: "flowcraft_run_failure_sensor_cancelled",
}


def react(site: Site, run: dg.DagsterRun, status: dg.DagsterRunStatus) -> str:
    """What the sensor says about a run that ended with ``status``."""
    sensor: Any = site.definitions.get_repository_def().get_sensor_def(SENSORS[status])
    context: Any = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=dg.DagsterEvent(f"PIPELINE_{status.value}", run.job_name),
        dagster_instance=site.instance,
        dagster_run=run,
        resources={CLIENT_KEY: site.resource},
    )
    if status == dg.DagsterRunStatus.FAILURE:
        context = context.for_run_failure()
    with context:
        reason: dg.SkipReason = sensor(context)
    return reason.skip_message or ""


def kill(site: Site, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A Dagster run that ended without a word of its step."""
    job = site.definitions.resolve_job_def("start_flowcraft_runs")
    return site.instance.create_run_for_job(job, status=status)


@pytest.mark.parametrize("status", list(SENSORS))
def test_workflows_of_a_killed_run_are_cancelled_or_kept(
    site: Site, worker: WorkerThread, status: dg.DagsterRunStatus
) -> None:
    run = kill(site, status)
    mine = site.client.start("lingers", {"n": 1}, tags={DAGSTER_RUN_TAG: run.run_id})
    kept = site.client.start("lingers", {"n": 1}, tags={DAGSTER_RUN_TAG: run.run_id, KEEP_TAG: "true"})
    other = site.client.start("lingers", {"n": 1})

    assert react(site, run, status) == f"{run.run_id}: asked 1 workflow runs to end, kept 1"
    assert site.client.wait(mine, 20).reason == "its Dagster run was killed"
    for run_id in (kept, other):
        assert site.client.status(run_id).status == "running"
        site.client.cancel(run_id)
        site.client.wait(run_id, 20)


def test_a_step_that_ran_out_of_time_has_decided_that_its_workflow_goes_on(site: Site) -> None:
    config = {"blueprint_id": "lingers", "context": {"n": 1}, "timeout_seconds": 0.05}
    result = site.run_job("start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": config}}})
    run = site.instance.get_run_by_id(result.run_id)
    assert run is not None

    assert react(site, run, dg.DagsterRunStatus.FAILURE) == f"{run.run_id} ended by itself"
    assert site.client.status(run.run_id).status == "running"
