"""The main job in a real browser: a post goes in at the Launchpad and comes out as a materialized asset."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.console import Console
from tests.browser.upstream_app import AMOUNTS
from tests.examples.conftest import UPSTREAM

JOB = "start_flowcraft_runs"
POST = {"userId": "user-7", "userPost": "Write to jane.doe@example.com or call +44 20 7946 0958."}
BLUE, RED, GREEN = "#1f6feb", "#f8d7da", "#d4edda"


def test_a_post_launched_in_the_launchpad_becomes_a_materialized_asset(console: Console) -> None:
    run_id = console.launch(JOB, {"blueprint_id": "content-moderation", "context": POST}, picture="launchpad")
    console.await_status("Success")
    # What the workflow's nodes did stands in the Dagster run's log, with those of its sub-flows.
    console.page.get_by_placeholder("Filter…").fill("node '")
    for node in ("triage_post", "redact_post/", "redact_post"):
        expect(console.page.get_by_text(re.compile(f"node '{node}.*' ended after")).first).to_be_visible()
    console.keep("log-of-the-run", in_docs=True, navigation=False)

    console.open_event("content-moderation", run_id)
    console.expect_metadata("run_id", run_id)
    console.expect_metadata("status", "completed")
    console.keep("asset-of-the-run")

    with console.client() as client:
        result = client.result(run_id)
    assert result.status == "completed"
    assert "redact_post" in result.outputs

    _, svg = console.show_picture()
    # It is the picture of this run: taken edges are blue.
    assert "redact_post" in svg
    assert BLUE in svg
    console.keep("picture-of-the-run", in_docs=True)


def test_the_offered_config_launches_as_it_is(console: Console) -> None:
    console.open_launchpad(JOB)
    expect(console.page.get_by_text("No missing config")).to_be_visible()
    run_id = console.press_launch()
    console.await_status("Success")

    with console.client() as client:
        assert client.result(run_id).status == "completed"


def test_a_config_scaffolded_from_nothing_launches_as_it_is(console: Console) -> None:
    console.open_launchpad(JOB)
    console.page.locator(".CodeMirror").first.click()
    console.page.keyboard.press("Control+A")
    console.page.keyboard.press("Delete")
    console.page.get_by_role("button", name="Scaffold all default config").click()
    console.page.get_by_role("button", name="Confirm").click()
    expect(console.page.get_by_text("All defaults expanded")).to_be_visible()
    expect(console.page.locator(".CodeMirror").first).to_contain_text("upstream_app:app")
    expect(console.page.get_by_text("No errors")).to_be_visible()
    console.keep("scaffolded-config")
    run_id = console.press_launch()
    console.await_status("Success")

    with console.client() as client:
        assert client.result(run_id).status == "completed"


@pytest.mark.parametrize("blueprint_id", [int(AMOUNTS), AMOUNTS])
def test_a_number_names_a_blueprint_as_its_text_does(console: Console, blueprint_id: Any) -> None:
    run_id = console.launch(JOB, {"blueprint_id": blueprint_id, "context": {"amount": "21"}})
    console.await_status("Success")

    with console.client() as client:
        assert client.result(run_id).outputs == {"read": 21, "double": 42, "report": 84}


@pytest.mark.parametrize("blueprint_id", [400, "400"])
def test_the_upstream_moderation_is_launched_by_its_number(console: Console, blueprint_id: Any) -> None:
    if not UPSTREAM.is_dir():
        pytest.skip("the upstream blueprints do not lie beside this checkout")
    run_id = console.launch(JOB, {"blueprint_id": blueprint_id, "context": POST})
    console.await_status("Success")

    with console.client() as client:
        result = client.result(run_id)
    assert (result.blueprint_id, result.status) == ("400", "completed")
    assert "redact_post_branch" in result.outputs


def test_a_failed_run_names_its_node_and_shows_it_in_red(console: Console) -> None:
    run_id = console.launch(JOB, {"blueprint_id": AMOUNTS, "context": {"amount": "plenty"}})
    console.await_status("Failure")
    reason = f"run {run_id}, node 'read': ValueError: invalid literal for int() with base 10: 'plenty'"
    failure = console.page.get_by_role("row").filter(has_text=reason).or_(console.page.get_by_text(reason))
    expect(failure.first).to_be_visible()
    console.keep("run-failed")

    _, svg = console.show_picture()
    boxes = dict(re.findall(r'<title>(\w+)</title><rect [^>]*? fill="(#\w+)"', svg))
    assert boxes["read"] == RED
    assert GREEN not in boxes.values()
    console.keep("picture-of-a-failed-run")


def test_what_runs_by_itself_is_seen_to_run(console: Console) -> None:
    console.open("/automation")
    for name in ("flowcraft_status_sensor", "flowcraft_run_request_sensor", "reconcile_flowcraft_runs_schedule"):
        row = console.page.locator("div", has=console.page.get_by_text(name, exact=True)).filter(
            has=console.page.get_by_role("checkbox")
        )
        expect(row.last.get_by_role("checkbox").last).to_be_checked()
    console.keep("automation", in_docs=True)
