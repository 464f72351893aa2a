"""Runs that Dagster did not start are seen on their blueprint's asset, as figures."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from examples.demo.dagster_api import Materialization
from examples.demo.posts import BLUEPRINT, load_posts
from examples.demo.site import ROOT
from flowcraft_dagster import StartRequest
from tests.browser.console import Console

pytestmark = pytest.mark.browser

POSTS = 12
SENSOR_SECONDS = 120.0
PATIENCE_MILLISECONDS = 60_000
DOCS_PICTURES = "FLOWCRAFT_DOCS_PICTURES"
"""Set to 1, the pictures of this test are also kept in docs/images."""


def reported(console: Console) -> list[Materialization]:
    """What the status sensor has reported, the latest first."""
    events = console.site.api.materializations(("flowcraft", BLUEPRINT))
    return [event for event in events if "batch_id" in event.metadata]


def count(events: list[Materialization]) -> int:
    return sum(event.metadata["completed"] for event in events)


def keep(console: Console, name: str) -> None:
    console.keep(name)
    if os.environ.get(DOCS_PICTURES) == "1":
        shutil.copy(console.screenshots / f"{name}.png", ROOT / "docs" / "images")


def test_runs_started_beside_dagster_are_counted_on_the_asset(console: Console) -> None:
    before = count(reported(console))
    with console.client() as client:
        posts = enumerate(load_posts(POSTS))
        run_ids = client.start_many([StartRequest(BLUEPRINT, post, f"beside-dagster-{n}") for n, post in posts])
        assert {client.wait(run_id, 60).status for run_id in run_ids} == {"completed"}

    deadline = time.monotonic() + SENSOR_SECONDS
    while count(reported(console)) < before + POSTS:
        assert time.monotonic() < deadline, reported(console)
        console.page.wait_for_timeout(500)
    latest = reported(console)[0].metadata

    console.open_asset(BLUEPRINT, "events")
    for label in ("batch_id", "runs", "completed", "failed"):
        row = console.page.get_by_role("row", name=re.compile(f"^{label} {latest[label]}( |$)"))
        expect(row.first).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    expect(console.page.get_by_text(re.compile("^beside-dagster-")).first).to_be_visible()
    keep(console, "asset-of-many-runs")

    console.open_asset(BLUEPRINT)
    expect(console.page.get_by_text("Latest materialization")).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    picture = console.page.locator("img[src^='data:image/svg']").first
    expect(picture).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    keep(console, "asset-overview")
