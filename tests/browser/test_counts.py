"""Runs that Dagster did not start are seen on their blueprint's asset, as figures."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from examples.demo.dagster_api import Materialization
from examples.demo.posts import BLUEPRINT, load_posts
from flowcraft_dagster import StartRequest
from tests.browser.console import Console

POSTS = 12


def reported(console: Console) -> list[Materialization]:
    """What the status sensor has reported, the latest first."""
    events = console.site.api.materializations(("flowcraft", BLUEPRINT))
    return [event for event in events if "batch_id" in event.metadata]


def count(events: list[Materialization]) -> int:
    return sum(event.metadata["completed"] for event in events)


def test_runs_started_beside_dagster_are_counted_on_the_asset(console: Console) -> None:
    before = count(reported(console))
    with console.client() as client:
        posts = enumerate(load_posts(POSTS))
        run_ids = client.start_many([StartRequest(BLUEPRINT, post, f"beside-dagster-{n}") for n, post in posts])
        assert {client.wait(run_id, 60).status for run_id in run_ids} == {"completed"}

    console.await_event(lambda: count(reported(console)) >= before + POSTS or None, f"{POSTS} runs on their asset")
    latest = reported(console)[0].metadata

    console.open_asset(BLUEPRINT, "events")
    for label in ("batch_id", "runs", "completed", "failed"):
        console.expect_metadata(label, latest[label])
    expect(console.page.get_by_text(re.compile("^beside-dagster-")).first).to_be_visible()
    console.keep("asset-of-many-runs", in_docs=True)

    console.open_asset(BLUEPRINT)
    expect(console.page.get_by_text("Latest materialization")).to_be_visible()
    expect(console.page.locator("img[src^='data:image/svg']").first).to_be_visible()
    console.keep("asset-overview", in_docs=True)
