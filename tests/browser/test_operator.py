"""What an operator does and sees in the Dagster UI."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.console import Console

pytestmark = pytest.mark.browser

SENSOR_SECONDS = 90
"""A tick every 15 s, on a machine that has other things to do."""


def test_materialize_runs_a_blueprint_and_records_it(console: Console) -> None:
    console.open_asset("400")
    console.page.get_by_role("button", name=re.compile("Materialize")).first.click()
    console.keep("materialize-pressed")
    # A notice says which run was launched.
    console.page.get_by_text("View", exact=True).first.click()
    run_id = console.await_run_page()
    console.await_status("Success")

    with console.client() as client:
        assert client.result(f"{run_id}-400").outputs["report"] == 84
    console.open_asset("400", "events")
    expect(console.page.get_by_text(f"{run_id}-400").first).to_be_visible()
    console.keep("materialized-blueprint")


def test_a_failed_run_fails_a_check_that_names_the_node(console: Console) -> None:
    with console.client() as client:
        run_id = client.start("400", {"amount": "many"})
        assert client.wait(run_id, 60).status == "failed"
    console.open_asset("400", "checks")
    console.page.get_by_text("runs_succeed").first.click()

    named = console.page.get_by_text(re.compile(f"run {run_id}, node 'read': ValueError"))
    expect(named.first).to_be_visible(timeout=SENSOR_SECONDS * 1000)
    console.keep("failed-check")


def test_a_failed_run_goes_on_as_a_new_one(console: Console) -> None:
    with console.client() as client:
        run_id = client.start("400", {"amount": "several"})
        client.wait(run_id, 60)
        console.launch("retry_flowcraft_runs", {"ops": {"retry_flowcraft_runs_op": {"config": {"run_ids": [run_id]}}}})
        console.await_status("Success")
        expect(console.page.get_by_text(re.compile(f"run {run_id} goes on as")).first).to_be_visible()
        console.keep("retried-run")

        assert [header.retry_of for header in client.runs()].count(run_id) == 1


def test_a_waiting_run_is_answered(console: Console) -> None:
    with console.client() as client:
        run_id = client.start("approval")
        client.wait_for_pause(run_id, 60)
        answer = {"run_id": run_id, "node": "ask_a_person", "output": 21}
        console.launch("resume_flowcraft_run", {"ops": {"resume_flowcraft_run_op": {"config": answer}}})
        console.await_status("Success")
        console.keep("answered-run")

        assert client.wait(run_id, 60).outputs["double"] == 42


def test_terminating_the_dagster_run_cancels_the_workflow(console: Console) -> None:
    run_id = console.launch(
        "start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": {"blueprint_id": "endless"}}}}
    )
    expect(console.page.get_by_text("started", exact=False).first).to_be_visible()
    with console.client() as client:
        while not [header for header in client.runs() if header.run_id == run_id]:
            console.page.wait_for_timeout(100)
        console.page.get_by_role("button", name="Terminate").click()
        console.page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).last.click()
        began = time.monotonic()
        result = client.wait(run_id, 30)

        assert (result.status, result.reason) == ("cancelled", "its Dagster run was cancelled")
        assert time.monotonic() - began < 10
    console.open(f"/runs/{run_id}")
    console.await_status("Canceled")
    console.keep("terminated-run")


def test_a_blueprint_is_seen_as_a_graph_of_its_nodes(console: Console) -> None:
    console.open("/locations/flowcraft_dagster/asset-groups/flowcraft_nodes_content__moderation/lineage")
    for node in ("check_personal_data", "triage_post", "redact_post", "record_decision"):
        expect(console.page.get_by_text(node, exact=True).first).to_be_visible()
    console.keep("nodes-of-a-blueprint")


def test_a_reconciliation_report_is_opened(console: Console) -> None:
    run_id = console.site.api.launch("reconcile_flowcraft_runs", {})
    console.open(f"/runs/{run_id}")
    console.await_status("Success")
    console.open_asset("runtime/reconciliation", "events")

    row = console.page.get_by_role("row")
    expect(row.filter(has_text=re.compile("^scanned")).first).to_be_visible()
    expect(row.filter(has_text=re.compile("^stalled")).first).to_be_visible()
    console.keep("reconciliation-report")
