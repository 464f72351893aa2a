"""Everything is killed at once while work is going on, and started again: nothing is lost, nothing runs twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demo.site import Site, choose_port
from flowcraft_dagster import Client, RunQuery, Settings, StartRequest, load_app
from flowcraft_dagster.runtime.requests import encode_request

APP = "tests.browser.site_app:app"
REQUESTS = 3000
POST = {"userId": "user-7", "userPost": "Write to jane.doe@example.com or call +44 20 7946 0958."}
PATIENCE_SECONDS = 300.0

# Dagster is started twice, and what is waited for may take as long each time.
pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1500)]


def wait_until(is_there: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < deadline, f"{what}: not there after {seconds:.0f} s"
        time.sleep(0.05)


def start(folder: Path) -> Site:
    site = Site(folder, choose_port(0), APP)
    site.start()
    return site


def list_requested(client: Client) -> list[str]:
    headers = client.runs(RunQuery(blueprint_id="400", limit=10 * REQUESTS))
    return [header.status for header in headers if header.run_id.startswith("request-")]


def count_shown(site: Site, blueprint: str) -> int:
    """Runs on a blueprint's asset. Of events of one batch, the later one holds all of the earlier ones."""
    batches: Counter[str] = Counter()
    for event in site.api.materializations(("flowcraft", blueprint)):
        name = str(event.metadata.get("batch_id") or event.metadata.get("run_id"))
        batches[name] = max(batches[name], int(event.metadata.get("runs") or 0))
    return batches.total()


def test_killing_everything_loses_no_request_and_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "dagster"
    site = start(folder)
    try:
        settings = Settings.from_env(site.environment)
        with load_app(APP).client(settings) as client:
            posts = client.start_many([StartRequest("content-moderation", POST, f"post-{n}") for n in range(60)])
            values = [encode_request(StartRequest("400", {"amount": str(n)})) for n in range(REQUESTS)]
            client.call(client.asynchronous.backend.requests.send_requests(values))
            # In the middle of what the request sensor has launched, and of what the worker does.
            wait_until(lambda: len(list_requested(client)) > REQUESTS // 10, "the first requested runs")
        site.processes.kill()
        assert site.processes.find() == []
        with load_app(APP).client(settings) as client:
            before = len(list_requested(client))
        # It was in the middle of its work; what was left of that launch is launched again.
        assert 0 < before < REQUESTS

        site = start(folder)
        site.wait_for_worker()
        site.wait_for_dagster()
        with load_app(APP).client(settings) as client:
            wait_until(
                lambda: list_requested(client) == ["completed"] * REQUESTS, f"{REQUESTS} completed runs, after {before}"
            )
            assert [client.wait(run_id, 60).status for run_id in posts] == ["completed"] * len(posts)
            wait_until(lambda: count_shown(site, "400") >= REQUESTS, "the requested runs on their asset")
        assert count_shown(site, "400") == REQUESTS
    finally:
        site.processes.end()
        assert site.processes.find() == []
