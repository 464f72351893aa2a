"""The machine goes down while runs are in progress: SIGKILL for the worker and everything of ``dagster dev``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.demo.site import Site, choose_port
from flowcraft_dagster import Client, Settings, load_app

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

APP = "tests.acceptance.restart_app:app"
OP = "start_flowcraft_runs_op"
PATIENCE = 180.0
GATED = [f"gated-{number}" for number in range(3)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "home", choose_port(0), APP)
    try:
        yield site
    finally:
        site.processes.end()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with load_app(APP).client(Settings.from_env(site.environment)) as client:
        yield client


def await_true(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def executions(folder: Path, node: str, run_id: str) -> int:
    file = folder / f"{node}-{run_id}"
    return len(file.read_text().splitlines()) if file.exists() else 0


def count_on_asset(site: Site, blueprint: str) -> int:
    events = site.api.materializations(("flowcraft", blueprint))
    return sum(event.metadata.get("completed") or 0 for event in events)


def test_runs_outlive_the_end_of_every_process(site: Site, client: Client, tmp_path: Path) -> None:
    site.start()
    site.wait_for_worker()
    site.wait_for_dagster()

    def context(number: int) -> dict[str, object]:
        return {"folder": str(tmp_path), "number": number}

    launched = site.api.launch(
        "start_flowcraft_runs", {"ops": {OP: {"config": {"blueprint_id": "gated", "context": context(100)}}}}
    )
    for number, run_id in enumerate(GATED):
        client.start("gated", context(number), run_id=run_id)
    client.start("answered", context(7), run_id="answered")
    await_true(
        lambda: all(executions(tmp_path, "middle", run_id) for run_id in [launched, *GATED]), "runs stand at the gate"
    )
    client.wait_for_pause("answered", PATIENCE)
    client.start("asleep", context(8), run_id="asleep")
    client.wait_for_pause("asleep", PATIENCE)
    assert site.api.run_status(launched) == "STARTED"

    killed = site.processes.kill()
    assert len(killed) >= 6, killed
    assert site.processes.find() == []
    # Nobody is there to take this up, yet it is accepted.
    (tmp_path / "open").touch()
    client.start("gated", context(200), run_id="while-down")
    assert {client.status(run_id).status for run_id in [launched, *GATED]} == {"running"}

    site.start()
    site.wait_for_worker()
    client.resume("answered", "middle", output="yes")
    for number, run_id in [(100, launched), *enumerate(GATED), (200, "while-down")]:
        result = client.wait(run_id, PATIENCE)
        assert result.status == "completed", result
        assert result.outputs == {"first": number, "middle": number * 2, "last": number}
    assert client.wait("answered", PATIENCE).outputs == {"first": 7, "middle": "yes", "last": 7}
    assert client.wait("asleep", PATIENCE).outputs["last"] == 8

    # What was committed before is not done again; only what was cut off is.
    everything = [launched, *GATED, "while-down", "answered", "asleep"]
    assert [executions(tmp_path, "first", run_id) for run_id in everything] == [1] * len(everything)
    assert [executions(tmp_path, "last", run_id) for run_id in everything] == [1] * len(everything)
    assert [executions(tmp_path, "middle", run_id) for run_id in [launched, *GATED]] == [2] * (len(GATED) + 1)

    # Dagster forgets the process of its run for ever; a person says so, and the status sensor shows the workflow.
    site.wait_for_dagster()
    await_true(lambda: count_on_asset(site, "gated") >= len(GATED) + 1, "the status sensor counts the gated runs")
    assert site.api.run_status(launched) == "STARTED"
    site.api.drop(launched)
    await_true(lambda: count_on_asset(site, "gated") >= len(GATED) + 2, "and the launched one")
    assert count_on_asset(site, "gated") == len(GATED) + 2
    assert (count_on_asset(site, "answered"), count_on_asset(site, "asleep")) == (1, 1)
