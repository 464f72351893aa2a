"""What an operator does and sees in the Dagster UI."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from flowcraft_dagster import RunQuery
from tests.browser.console import Console
from tests.browser.upstream_app import AMOUNTS


def test_materialize_runs_a_blueprint_and_records_it(console: Console) -> None:
    console.open_asset(AMOUNTS)
    console.page.get_by_role("button", name=re.compile("Materialize")).first.click()
    # A notice says which run was launched.
    console.page.get_by_text("View", exact=True).first.click()
    run_id = console.await_run_page()
    console.await_status("Success")

    with console.client() as client:
        assert client.result(f"{run_id}-{AMOUNTS}").outputs["report"] == 84
    console.open_event(AMOUNTS, run_id)
    console.expect_metadata("run_id", f"{run_id}-{AMOUNTS}")
    console.keep("materialized-blueprint")


def test_a_failed_run_fails_a_check_that_names_the_node(console: Console) -> None:
    with console.client() as client:
        run_id = client.start(AMOUNTS, {"amount": "many"})
        assert client.wait(run_id, 60).status == "failed"
    console.open_asset(AMOUNTS, "checks")
    console.page.get_by_text("runs_succeed").first.click()

    expect(console.page.get_by_text(re.compile(f"run {run_id}, node 'read': ValueError")).first).to_be_visible()
    console.keep("failed-check", in_docs=True)


def test_a_failed_run_goes_on_as_a_new_one(console: Console) -> None:
    with console.client() as client:
        run_id = client.start(AMOUNTS, {"amount": "several"})
        client.wait(run_id, 60)
        console.launch("retry_flowcraft_runs", {"run_ids": [run_id]})
        console.await_status("Success")
        expect(console.page.get_by_text(re.compile(f"run {run_id} goes on as")).first).to_be_visible()
        console.keep("retried-run")

        assert [header.retry_of for header in client.runs()].count(run_id) == 1


def test_a_waiting_run_is_seen_with_what_it_waits_for_and_answered(console: Console) -> None:
    with console.client() as client:
        run_id = client.start("approval")
        client.wait_for_pause(run_id, 60)
        # The checks of the runtime, which list what waits, belong to this job.
        console.open(f"/runs/{console.site.api.launch('reconcile_flowcraft_runs', {})}")
        console.await_status("Success")
        listed = console.page.get_by_role("row").filter(has_text=run_id).filter(has_text="approval of the amount")
        console.open_asset("runtime/waiting_runs", "events")
        expect(listed.last).to_be_visible()
        console.keep("waiting-runs", in_docs=True)

        answer = {"run_id": run_id, "node": "ask_a_person", "output": 21}
        console.launch("resume_flowcraft_run", answer, picture="answer-in-the-launchpad")
        console.await_status("Success")
        expect(console.page.get_by_text(re.compile(f"answered 'ask_a_person' of run {run_id}")).first).to_be_visible()
        console.keep("answered-run")

        assert client.wait(run_id, 60).outputs["double"] == 42


def test_runs_are_cancelled_by_their_blueprint(console: Console) -> None:
    with console.client() as client:
        run_ids = {client.start("endless") for _ in range(3)}
        console.launch("cancel_flowcraft_runs", {"blueprint_id": "endless", "reason": "not needed any more"})
        console.await_status("Success")
        expect(console.page.get_by_text("3 runs asked to end, 0 had ended").first).to_be_visible()
        console.keep("cancelled-runs")

        results = [client.wait(run_id, 60) for run_id in run_ids]
    assert {(result.status, result.reason) for result in results} == {("cancelled", "not needed any more")}


def test_terminating_the_dagster_run_cancels_the_workflow(console: Console) -> None:
    run_id = console.launch("start_flowcraft_runs", {"blueprint_id": "endless"})
    with console.client() as client:
        query = RunQuery(blueprint_id="endless")
        console.await_event(lambda: run_id in {header.run_id for header in client.runs(query)} or None, "the workflow")
        console.page.get_by_role("button", name="Terminate").click()
        confirm = console.page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).last
        expect(confirm).to_be_enabled()
        began = time.time()
        confirm.click()
        result = client.wait(run_id, 60)

    assert (result.status, result.reason) == ("cancelled", "its Dagster run was cancelled")
    # That it takes less than 2 s is shown without a browser, which needs its own time for a click.
    assert (result.finished_at or 0.0) - began < 10
    console.open(f"/runs/{run_id}")
    console.await_status("Canceled")
    expect(console.page.get_by_text(re.compile(f"asked to end: {run_id}")).first).to_be_visible()
    console.keep("terminated-run")


def test_a_blueprint_is_seen_as_a_graph_of_its_nodes(console: Console) -> None:
    with console.client() as client:
        post = {"userId": "user-8", "userPost": "Call me on +44 20 7946 0958, or write to john.roe@example.com."}
        assert "redact_post" in client.wait(client.start("content-moderation", post), 60).outputs
    node = ("flowcraft", "content-moderation", "nodes", "redact_post")
    console.await_event(lambda: console.site.api.materializations(node) or None, "an event of a node that ran")

    console.open("/locations/flowcraft_dagster/asset-groups/flowcraft_nodes_content__moderation/lineage")
    for name in ("check_personal_data", "triage_post", "redact_post", "record_decision"):
        expect(console.page.get_by_text(name, exact=True).first).to_be_visible()
    expect(console.page.get_by_text("Materialized").first).to_be_visible()
    console.keep("nodes-of-a-blueprint", in_docs=True, navigation=False, below=200)


def test_a_reconciliation_report_is_opened(console: Console) -> None:
    with console.client() as client:
        woken = client.start("approval")
        client.wait_for_pause(woken, 60)
    config = {"ops": {"reconcile_flowcraft_runs_op": {"config": {"everything": True}}}}
    run_id = console.site.api.launch("reconcile_flowcraft_runs", config)
    console.open(f"/runs/{run_id}")
    console.await_status("Success")
    console.open_asset("runtime/reconciliation", "events")

    for label in ("stalled", "scanned"):
        expect(console.page.get_by_role("row", name=re.compile(rf"^{label} \d+")).first).to_be_visible()
    expect(console.page.get_by_role("row").filter(has_text=woken).last).to_be_visible()
    console.keep("reconciliation-report", in_docs=True)
