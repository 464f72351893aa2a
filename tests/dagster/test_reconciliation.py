"""Reconciliation: the job wakes what stands still, the schedule runs it, and never two at once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation, build_flowcraft_definitions
from flowcraft_dagster.orchestration.reconciliation import (
    LEASE,
    LEASE_SECONDS,
    RECONCILIATION_KEY,
    ReconciliationConfig,
    make_pass,
)
from flowcraft_dagster.ports.records import Page
from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.sample_app import app as sample_app
from tests.dagster.test_resource_set import await_expiry

JOB = "reconcile_flowcraft_runs"
OP = "reconcile_flowcraft_runs_op"
SCHEDULE = "reconcile_flowcraft_runs_schedule"


def reconcile(site: Site, **config: Any) -> Any:
    return site.run_job(JOB, {"ops": {OP: {"config": config}}})


def figures_of(site: Site) -> dict[str, Any]:
    event = site.instance.get_latest_materialization_event(RECONCILIATION_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    return {name: metadata[name].value for name in ("stalled", "reconciled", "failed", "scanned")}


def checks_of(result: Any) -> dict[str, bool]:
    return {event.check_name: event.passed for event in result.get_asset_check_evaluations()}


def test_a_stalled_run_is_woken_and_counted(site: Site) -> None:
    # No worker: the run's message is taken away, so nobody would ever take it up again.
    run_id = site.client.start("400", {"n": 1})
    result = reconcile(site, stalled_after_seconds=-1.0)

    assert result.success
    assert figures_of(site) == {"stalled": 1, "reconciled": 1, "failed": 0, "scanned": 1}
    evaluations = checks_of(result)
    assert not evaluations["no_stalled_runs"]
    (stalled,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "no_stalled_runs"]
    assert run_id in stalled.description


def test_nothing_to_do_is_a_pass_too(site: Site, worker: WorkerThread) -> None:
    site.client.wait(site.client.start("400", {"n": 1}), 20)
    result = reconcile(site)

    assert figures_of(site) == {"stalled": 0, "reconciled": 0, "failed": 0, "scanned": 0}
    assert checks_of(result) == {
        "no_stalled_runs": True,
        "servers_answer": True,
        "workers_are_alive": True,
        "queue_is_short": True,
        "no_dead_letters": True,
        "nobody_waits_long": True,
    }


def test_missing_workers_fail_a_check(site: Site) -> None:
    assert not checks_of(reconcile(site))["workers_are_alive"]


def test_another_pass_under_way_leaves_nothing_to_do(site: Site) -> None:
    connection = site.connection
    assert connection.call(connection.backend.coordination.acquire_lease(LEASE, "somebody", LEASE_SECONDS))
    result = reconcile(site)

    assert result.success
    assert site.instance.get_latest_materialization_event(RECONCILIATION_KEY) is None
    connection.call(connection.backend.coordination.release_lease(LEASE, "somebody"))
    assert reconcile(site).success
    assert figures_of(site)["scanned"] == 0


def test_a_pass_that_is_not_made_says_nothing_of_stalled_runs(site: Site) -> None:
    connection = site.connection
    assert connection.call(connection.backend.coordination.acquire_lease(LEASE, "somebody", LEASE_SECONDS))
    result = reconcile(site)
    connection.call(connection.backend.coordination.release_lease(LEASE, "somebody"))

    # The check stays as the last pass has left it.
    assert result.success
    assert "no_stalled_runs" not in checks_of(result)


@pytest.mark.parametrize("only_check", [True, False])
def test_asset_and_check_are_executed_together_or_alone(site: Site, only_check: bool) -> None:
    selection = (
        dg.AssetSelection.checks(dg.AssetCheckKey(RECONCILIATION_KEY, "no_stalled_runs"))
        if only_check
        else dg.AssetSelection.assets(RECONCILIATION_KEY).without_checks()
    )
    job = dg.define_asset_job("some", selection=selection).resolve(
        asset_graph=site.definitions.resolve_asset_graph()
    )
    resources = site.resources
    result = job.execute_in_process(instance=site.instance, resources=resources)

    assert result.success
    assert [event.passed for event in result.get_asset_check_evaluations()] == ([True] if only_check else [])
    assert len(result.get_asset_materialization_events()) == (0 if only_check else 1)
    assert len(result.get_asset_observation_events()) == (1 if only_check else 0)


def test_a_pass_that_failed_is_repeated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = site.connection.backend.index.scan_live_runs
    calls = []

    async def away_at_first(cursor: str | None, limit: int) -> Page:
        calls.append(cursor)
        if len(calls) == 1:
            raise StoreUnavailable("no route to host", store="test")
        return await scan(cursor, limit)

    monkeypatch.setattr(site.connection.backend.index, "scan_live_runs", away_at_first)
    monkeypatch.setattr("flowcraft_dagster.orchestration.following.RETRY_SECONDS", 0.0)
    result = reconcile(site)

    assert result.success
    # The one that failed, the repeated one, and that of the check of waiting runs.
    assert len(calls) == 3
    # The pass that failed gave its lease back.
    assert figures_of(site)["scanned"] == 0


def test_a_pass_that_keeps_failing_is_visible_and_the_next_one_recovers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(cursor: str | None, limit: int) -> Page:
        raise StoreUnavailable("no route to host", store="test")

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.index, "scan_live_runs", away)
        patch.setattr("flowcraft_dagster.orchestration.following.RETRY_SECONDS", 0.0)
        failed = reconcile(site)

    kinds = Counter(event.event_type_value for event in failed.all_events if event.step_key == OP)
    assert not failed.success
    assert (kinds["STEP_UP_FOR_RETRY"], kinds["STEP_FAILURE"]) == (3, 1)
    assert site.instance.get_latest_materialization_event(RECONCILIATION_KEY) is None
    # What else the run looks at was looked at.
    assert checks_of(failed)["servers_answer"]
    assert reconcile(site).success
    assert figures_of(site)["scanned"] == 0


def test_of_two_passes_at_once_one_does_the_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = site.connection.backend.index.scan_live_runs
    is_scanning, may_go_on = threading.Event(), threading.Event()

    async def slow(cursor: str | None, limit: int) -> Page:
        is_scanning.set()
        await asyncio.get_running_loop().run_in_executor(None, may_go_on.wait, 60.0)
        return await scan(cursor, limit)

    monkeypatch.setattr(site.connection.backend.index, "scan_live_runs", slow)
    # Much shorter than the first pass takes: it renews its lease.
    monkeypatch.setattr("flowcraft_dagster.orchestration.reconciliation.LEASE_SECONDS", 0.4)
    parts = site.connection, site.resources["flowcraft_coordination"], ReconciliationConfig()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(make_pass, *parts)
        assert is_scanning.wait(60)
        await_expiry(site, "reconciliation", 0.4)
        second = make_pass(*parts)
        may_go_on.set()

        assert second is None
        assert first.result(60) is not None
    assert make_pass(*parts) is not None


@pytest.mark.parametrize(
    ("automation", "seconds"),
    [
        (FlowcraftAutomation(), 3600),
        (FlowcraftAutomation(reconciliation_fresh_seconds=1.0), 120),
        (FlowcraftAutomation(reconciliation_fresh_seconds=0.0), None),
        (FlowcraftAutomation(running=False), None),
    ],
)
def test_passes_are_to_be_fresh_where_the_schedule_runs(automation: FlowcraftAutomation, seconds: int | None) -> None:
    definitions = build_flowcraft_definitions(sample_app, automation=automation)
    policy: Any = definitions.resolve_asset_graph().get(RECONCILIATION_KEY).freshness_policy

    assert (policy and policy.fail_window.to_timedelta().total_seconds()) == seconds


@pytest.fixture
def stored(site: Site, tmp_path: Path) -> Iterator[Site]:
    """With an instance on disk: a schedule's context opens the instance anew."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield replace(site, instance=instance)


def evaluate(site: Site, minute: int = 5) -> Any:
    schedule = site.definitions.get_repository_def().get_schedule_def(SCHEDULE)
    now = datetime(2026, 1, 1, 12, minute, tzinfo=timezone.utc)
    with dg.build_schedule_context(instance=site.instance, scheduled_execution_time=now) as context:
        return schedule.evaluate_tick(context)


def test_the_schedule_asks_for_a_pass_with_a_config_that_runs(site: Site, stored: Site) -> None:
    (request,) = evaluate(stored).run_requests

    assert site.run_job(JOB, dict(request.run_config)).success
    assert request.run_config["ops"][OP]["config"]["stalled_after_seconds"] == 300.0


def test_a_repeated_tick_of_the_schedule_asks_for_the_same_pass(stored: Site) -> None:
    (first,), (again,) = evaluate(stored).run_requests, evaluate(stored).run_requests
    (later,) = evaluate(stored, minute=10).run_requests

    assert first.run_key == again.run_key == "2026-01-01T12:05:00+00:00"
    assert later.run_key != first.run_key


def test_the_schedule_asks_no_server(stored: Site) -> None:
    stored.home.parent.mkdir(exist_ok=True)
    stored.home.write_text("a file in the way")

    assert len(evaluate(stored).run_requests) == 1


def test_the_schedule_waits_for_a_pass_that_goes_on(stored: Site) -> None:
    job = stored.definitions.resolve_job_def(JOB)
    run = stored.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    skipped = evaluate(stored)
    stored.instance.report_run_failed(run)
    resumed = evaluate(stored)

    assert skipped.run_requests == []
    assert run.run_id in skipped.skip_message
    assert len(resumed.run_requests) == 1


def test_the_schedule_runs_every_five_minutes_without_a_click(site: Site) -> None:
    schedule = site.definitions.get_repository_def().get_schedule_def(SCHEDULE)

    assert schedule.cron_schedule == "*/5 * * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
