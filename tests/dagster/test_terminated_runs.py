"""A Dagster run that waits for a workflow is terminated, or its process is killed: real processes, asked by GraphQL.

What becomes of the workflow is what the run's config says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.demo.dagster_api import LOCATION
from examples.demo.site import Site, choose_port
from flowcraft_dagster import Client, Settings, load_app
from tests.site_runs import run_site

APP = "tests.browser.site_app:app"
PATIENCE_SECONDS = 240.0
CANCEL_SECONDS = 2.0
TRIES = 5
"""Time on a machine with other things to do: the best of some tries shows what the software needs."""

REPOSITORY = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
TERMINATE = "mutation T($id: String!) { terminateRun(runId: $id) { __typename } }"
START_SENSOR = """
mutation S($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }
"""
PROCESSES = """
query P($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection { events { __typename ... on LogsCapturedEvent { pid } } }
  }
}
"""
MATERIALIZE = """
mutation M($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("dagster"), choose_port(0), APP)
    with run_site(site):
        yield site


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[Client]:
    with load_app(APP).client(Settings.from_env(site.environment)) as client:
        yield client


def wait_until(is_there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert time.monotonic() < deadline, f"{what}: not there after {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.05)


def launch(site: Site, client: Client, **config: Any) -> str:
    """A Dagster run that waits for a workflow without end; both have the same id."""
    given = {"blueprint_id": "endless", "timeout_seconds": 3600.0, **config}
    run_id = site.api.launch("start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": given}}})
    await_workflow(client, run_id)
    return run_id


def await_workflow(client: Client, workflow_id: str) -> None:
    wait_until(lambda: workflow_id in {header.run_id for header in client.runs()}, f"workflow {workflow_id}")


def await_dagster(site: Site, run_id: str, status: str) -> None:
    wait_until(lambda: site.api.run_status(run_id) == status, f"Dagster run {run_id}: {status}")


def terminate(site: Site, run_id: str) -> None:
    assert site.api.ask(TERMINATE, {"id": run_id})["__typename"] == "TerminateRunSuccess"


def end(client: Client, workflow_id: str) -> None:
    client.cancel(workflow_id)
    client.wait(workflow_id, PATIENCE_SECONDS)


def test_terminating_the_run_cancels_the_workflow_within_two_seconds(site: Site, client: Client) -> None:
    took: list[float] = []
    while not took or (min(took) > CANCEL_SECONDS and len(took) < TRIES):
        run_id = launch(site, client)
        began = time.time()
        terminate(site, run_id)
        result = client.wait(run_id, PATIENCE_SECONDS)

        assert (result.status, result.reason) == ("cancelled", "its Dagster run was cancelled")
        took.append((result.finished_at or 0.0) - began)
        await_dagster(site, run_id, "CANCELED")
    assert min(took) <= CANCEL_SECONDS, took


def test_terminating_the_run_keeps_the_workflow_where_the_config_says_so(site: Site, client: Client) -> None:
    run_id = launch(site, client, cancel_workflow=False)
    terminate(site, run_id)
    await_dagster(site, run_id, "CANCELED")

    assert client.status(run_id).status == "running"
    end(client, run_id)


@pytest.mark.parametrize("cancel", [True, False])
def test_terminating_a_materialization_does_what_its_config_says(site: Site, client: Client, cancel: bool) -> None:
    parameters = {
        "selector": {**REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": [{"path": ["flowcraft", "endless"]}]},
        "mode": "default",
        "runConfigData": {"ops": {"blueprint__endless": {"config": {"cancel_workflow": cancel}}}},
    }
    run_id = site.api.ask(MATERIALIZE, {"parameters": parameters})["run"]["runId"]
    await_workflow(client, f"{run_id}-endless")
    terminate(site, run_id)
    await_dagster(site, run_id, "CANCELED")

    if cancel:
        assert client.wait(f"{run_id}-endless", PATIENCE_SECONDS).status == "cancelled"
    else:
        assert client.status(f"{run_id}-endless").status == "running"
        end(client, f"{run_id}-endless")


def test_terminating_a_batch_cancels_all_of_it(site: Site, client: Client) -> None:
    config = {"blueprint_id": "endless", "contexts": [{"n": n} for n in range(25)]}
    run_id = site.api.launch("start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": config}}})
    await_workflow(client, f"{run_id}-24")
    terminate(site, run_id)

    statuses = {client.wait(f"{run_id}-{n}", PATIENCE_SECONDS).status for n in range(25)}
    assert statuses == {"cancelled"}


def test_workflows_of_killed_processes_are_cancelled_or_kept_as_the_config_says(site: Site, client: Client) -> None:
    answer = site.api.ask(START_SENSOR, {"selector": {**REPOSITORY, "sensorName": "flowcraft_run_failure_sensor"}})
    assert answer["__typename"] == "Sensor"
    kept, cancelled = launch(site, client, cancel_workflow=False), launch(site, client)
    # The sensor sees them in this order: when it has cancelled the second one, it has decided about the first.
    for run_id in (kept, cancelled):
        os.kill(find_process(site, run_id), signal.SIGKILL)
        await_dagster(site, run_id, "FAILURE")

    result = client.wait(cancelled, PATIENCE_SECONDS)
    assert (result.status, result.reason) == ("cancelled", "its Dagster run was killed")
    assert client.status(kept).status == "running"
    end(client, kept)


def find_process(site: Site, run_id: str) -> int:
    """The process that waits for the workflow: that of the step."""
    events = site.api.ask(PROCESSES, {"id": run_id})["events"]
    (pid,) = {event["pid"] for event in events if event["__typename"] == "LogsCapturedEvent"}
    assert pid != os.getpid()
    return int(pid)
