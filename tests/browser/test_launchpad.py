"""The main job in a real browser: a post goes in at the Launchpad and comes out as a materialized asset."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.browser.console import Console

pytestmark = pytest.mark.browser

OP = "start_flowcraft_runs_op"
POST = {"userId": "user-7", "userPost": "Write to jane.doe@example.com or call +44 20 7946 0958."}


def test_a_post_launched_in_the_launchpad_becomes_a_materialized_asset(console: Console) -> None:
    config = {"ops": {OP: {"config": {"blueprint_id": "content-moderation", "context": POST}}}}
    run_id = console.launch("start_flowcraft_runs", config)
    console.await_status("Success")
    console.keep("run-completed")

    console.open_asset("content-moderation", "events")
    rows = console.page.get_by_role("row")
    expect(rows.filter(has_text="run_id").filter(has_text=run_id).first).to_be_visible()
    expect(rows.filter(has_text=re.compile("^status")).filter(has_text="completed").first).to_be_visible()
    console.keep("asset-of-the-run")

    with console.client() as client:
        result = client.result(run_id)
    assert result.status == "completed"
    assert "redact_post" in result.outputs

    console.page.get_by_text("[Show Markdown]").first.click()
    picture = console.page.get_by_role("dialog").locator("img")
    expect(picture).to_be_visible()
    # The browser has drawn it, and it is the picture of this run: taken edges are blue.
    assert picture.evaluate("image => image.complete && image.naturalWidth > 200")
    svg = base64.b64decode((picture.get_attribute("src") or "").partition("base64,")[2]).decode()
    assert "redact_post" in svg
    assert "#1f6feb" in svg
    console.keep("picture-of-the-run")


def test_the_offered_config_is_valid_as_it_is(console: Console) -> None:
    console.open("/locations/flowcraft_dagster/jobs/start_flowcraft_runs/playground")

    expect(console.page.get_by_text("No errors")).to_be_visible()
    expect(console.page.get_by_text("No missing config")).to_be_visible()
    expect(console.page.get_by_role("button", name="Launch Run")).to_be_enabled()


def test_a_blueprint_whose_id_is_a_number_is_launched_by_that_number(console: Console) -> None:
    run_id = console.launch(
        "start_flowcraft_runs", {"ops": {OP: {"config": {"blueprint_id": 400, "context": {"amount": "21"}}}}}
    )
    console.await_status("Success")

    with console.client() as client:
        assert client.result(run_id).outputs == {"read": 21, "double": 42, "report": 84}


def test_what_runs_by_itself_is_seen_to_run(console: Console) -> None:
    console.open("/automation")
    for name in ("flowcraft_status_sensor", "flowcraft_run_request_sensor", "reconcile_flowcraft_runs_schedule"):
        row = console.page.locator("div", has=console.page.get_by_text(name, exact=True)).filter(
            has=console.page.get_by_role("checkbox")
        )
        expect(row.last.get_by_role("checkbox").last).to_be_checked()
    console.keep("automation")
