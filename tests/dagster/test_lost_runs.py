"""Dagster and its runs are killed at once, so that nobody is left who saw them die: run monitoring fails them.

Dagster's default launcher cannot be asked whether a process lives, so it is the longest running time that ends them.
What becomes of the workflow is what the run's config says, as for a run that is killed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.site import Site, choose_port
from flowcraft_dagster import Client, Settings, load_app
from tests.dagster.test_terminated_runs import (
    APP,
    PATIENCE_SECONDS,
    REPOSITORY,
    START_SENSOR,
    await_dagster,
    end,
    launch,
    wait_until,
)
from tests.docs.pages import ROOT, read_blocks
from tests.site_runs import run_site

# What the page advises, with other times.
(ADVICE,) = (text for text in read_blocks(ROOT / "docs" / "howto" / "dagster.md", "yaml") if "run_monitoring" in text)
MONITORING = ADVICE.replace("max_runtime_seconds: 86400", "max_runtime_seconds: 1\n  poll_interval_seconds: 1")

# Dagster is started twice.
pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "dagster", choose_port(0), APP)
    with run_site(site):
        yield site


def test_runs_that_nobody_saw_die_are_failed_and_their_workflows_cancelled_or_kept(site: Site) -> None:
    selector = {**REPOSITORY, "sensorName": "flowcraft_run_failure_sensor"}
    assert site.api.ask(START_SENSOR, {"selector": selector})["__typename"] == "Sensor"
    wait_until(lambda: has_ticked(site, selector), "the sensor's first tick")
    with load_app(APP).client(Settings.from_env(site.environment)) as client:
        # Monitoring fails the youngest first. When the sensor has cancelled the older one, it has decided about both.
        cancelled, kept = launch(site, client), launch(site, client, cancel_workflow=False)
        for run_id in (kept, cancelled):
            await_dagster(site, run_id, "STARTED")
    site.processes.kill()
    assert site.processes.find() == []

    # Only now: a run that lives would be cancelled, and cancel its workflow by itself.
    assert "max_runtime_seconds: 1\n" in MONITORING
    with (site.folder / "dagster.yaml").open("a") as file:
        file.write(MONITORING)
    site.start()
    site.wait_for_worker()
    site.wait_for_dagster()
    with load_app(APP).client(Settings.from_env(site.environment)) as client:
        check(site, client, kept, cancelled)


def check(site: Site, client: Client, kept: str, cancelled: str) -> None:
    for run_id in (kept, cancelled):
        await_dagster(site, run_id, "FAILURE")
    result = client.wait(cancelled, PATIENCE_SECONDS)
    assert (result.status, result.reason) == ("cancelled", "its Dagster run was killed")
    assert client.status(kept).status == "running"
    end(client, kept)


TICKS = """
query S($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    __typename
    ... on Sensor { sensorState { ticks(limit: 1) { status } } }
  }
}
"""


def has_ticked(site: Site, selector: dict[str, str]) -> bool:
    ticks = site.api.ask(TICKS, {"selector": selector})["sensorState"]["ticks"]
    return any(tick["status"] == "SKIPPED" for tick in ticks)
