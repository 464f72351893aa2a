"""Asset checks: they pass, warn and fail as their limits say, and name what is wrong."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster import StartRequest
from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import StoreAccessDenied, StoreUnavailable
from flowcraft_dagster.orchestration.blueprint_checks import judge_blueprint, judge_runs
from flowcraft_dagster.orchestration.catalogue import build_catalogue
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.runtime_checks import (
    judge_lag,
    judge_letters,
    judge_servers,
    judge_workers,
)
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator
from flowcraft_dagster.orchestration.waiting_check import judge_waiting
from flowcraft_dagster.ports.records import DeadLetter
from flowcraft_dagster.runtime.backoff import Patience
from tests.dagster.conftest import Site, WorkerThread

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def judge(site: Site, blueprint_id: str = "fails", **limits: Any) -> Any:
    return judge_runs(site.connection, site.catalogue.entries[blueprint_id], Presenter(), CheckLimits(**limits))


def test_no_run_is_no_failure(site: Site) -> None:
    assert judge(site).passed


@pytest.mark.parametrize(
    ("limits", "passed", "severity"),
    [
        ({}, False, ERROR),
        ({"error_failed_share": 1.0}, False, WARN),
        ({"warn_failed_share": 1.0}, True, ERROR),
        ({"window_seconds": -60.0}, True, WARN),
    ],
)
def test_limits_decide(
    site: Site, worker: WorkerThread, limits: dict[str, Any], passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    run_id = site.client.start("fails", {"n": 7})
    site.client.wait(run_id, 20)
    judgement = judge(site, **limits)

    assert judgement.passed is passed
    if not passed:
        assert judgement.severity == severity
        assert f"run {run_id}, node 'step1': ValueError: cannot read 7" in judgement.description


@pytest.mark.parametrize(
    ("limits", "passed", "severity"),
    [
        ({}, True, WARN),
        ({"warn_workers": 2}, False, WARN),
        ({"error_workers": 2}, False, ERROR),
    ],
)
def test_workers_are_counted(
    site: Site, worker: WorkerThread, limits: dict[str, Any], passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    judgement = judge_workers(site.resources["flowcraft_worker"], CheckLimits(**limits))

    assert (judgement.passed, judgement.severity) == (passed, severity)
    assert judgement.metadata["workers"] == 1
    assert judgement.description.startswith("1 workers alive, ")


def test_a_worker_says_what_troubles_it(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "trouble", "publish: no route to host")
    worker.call(worker.worker._heartbeat.record("alive"))
    judgement = judge_workers(site.resources["flowcraft_worker"], CheckLimits())

    assert judgement.passed
    assert judgement.description.endswith("0 runs held, 0 messages taken: publish: no route to host")


@pytest.mark.parametrize(
    ("limits", "passed", "severity"),
    [
        ({}, True, WARN),
        ({"warn_lag": 2}, False, WARN),
        ({"warn_lag": 2, "error_lag": 2}, False, ERROR),
    ],
)
def test_messages_that_wait_are_counted(
    site: Site, limits: dict[str, Any], passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    for n in range(3):
        site.client.start("400", {"n": n})
    judgement = judge_lag(site.resources["flowcraft_queue"], CheckLimits(**limits))

    assert (judgement.passed, judgement.severity, judgement.metadata) == (passed, severity, {"lag": 3})


@pytest.mark.parametrize(
    ("limits", "passed", "severity"),
    [
        ({}, False, WARN),
        ({"warn_dead_letters": 2}, True, WARN),
        ({"error_dead_letters": 1}, False, ERROR),
    ],
)
def test_dead_letters_are_counted_and_named(
    site: Site, limits: dict[str, Any], passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    for name in ("l1", "l2"):
        letter = DeadLetter(name, b"", b"?", {}, "0/1", "unreadable", float(name[1]))
        site.connection.call(site.connection.backend.dead_letters.add_letter(letter))
    judgement = judge_letters(site.resources["flowcraft_queue"], Presenter(), CheckLimits(**limits))

    assert (judgement.passed, judgement.severity) == (passed, severity)
    assert judgement.description == ("2 dead letters" if passed else "2 dead letters: l2: unreadable; l1: unreadable")


def test_what_is_said_of_a_dead_letter_holds_no_secret(site: Site) -> None:
    letter = DeadLetter("l1", b"", b"?", {}, "0/1", "refused: api_key=k-123\nand more", 1.0)
    site.connection.call(site.connection.backend.dead_letters.add_letter(letter))
    said = judge_letters(site.resources["flowcraft_queue"], Presenter(), CheckLimits()).description

    assert said == "1 dead letters: l1: refused: api_key=[redacted] and more"


@pytest.mark.parametrize(
    ("limits", "passed", "severity"),
    [
        ({}, True, WARN),
        ({"warn_waiting_seconds": -1.0}, False, WARN),
        ({"warn_waiting_seconds": -1.0, "error_waiting_seconds": -1.0}, False, ERROR),
    ],
)
def test_runs_that_wait_for_an_answer_are_listed_and_named(
    site: Site, worker: WorkerThread, limits: dict[str, Any], passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    run_id = site.client.start("waits", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    judgement = judge_waiting(site.client, CheckLimits(**limits))

    assert (judgement.passed, judgement.severity) == (passed, severity)
    assert judgement.description == "1 runs wait" + (
        "" if passed else f"; longest for an answer: run {run_id}, node 'step1'"
    )
    (wait,) = judgement.metadata["waits"].records
    assert (wait.data["node"], wait.data["kind"], wait.data["for"]) == ("step1", "wait", "approval")


def test_a_run_that_sleeps_waits_for_nobody(site: Site, worker: WorkerThread) -> None:
    site.client.wait_for_pause(site.client.start("sleeps", {}), 20)
    judgement = judge_waiting(site.client, CheckLimits(warn_waiting_seconds=-1.0))

    assert judgement.passed
    (wait,) = judgement.metadata["waits"].records
    assert wait.data["kind"] == "sleep"


def test_of_many_runs_that_wait_the_longest_are_looked_at(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.waiting_check.MOST_WAITS_READ", 1)
    first, second = (site.client.start("waits", {"n": n}) for n in range(2))
    for run_id in (first, second):
        site.client.wait_for_pause(run_id, 20)
    (oldest, *_) = sorted(site.client.runs(), key=lambda header: header.updated_at)

    assert oldest.run_id in judge_waiting(site.client, CheckLimits(warn_waiting_seconds=-1.0)).description


def test_who_asks_is_found_behind_those_that_sleep_and_is_listed_first(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.waiting_check.MOST_ASKING", 1)
    monkeypatch.setattr("flowcraft_dagster.orchestration.waiting_check.MOST_LISTED", 2)
    for blueprint_id in ("sleeps", "sleeps", "sleeps", "waits", "waits"):
        site.client.wait_for_pause(site.client.start(blueprint_id, {"n": 1}), 20)
    judgement = judge_waiting(site.client, CheckLimits(warn_waiting_seconds=-1.0))

    assert not judgement.passed
    assert [wait.data["kind"] for wait in judgement.metadata["waits"].records] == ["wait", "sleep"]


def test_runs_that_wait_are_counted_page_by_page(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.waiting_check.PAGE", 2)
    run_ids = site.client.start_many([StartRequest("waits", {"n": n}) for n in range(7)])
    for run_id in run_ids:
        site.client.wait_for_pause(run_id, 20)
    judgement = judge_waiting(site.client, CheckLimits())

    assert (judgement.description, judgement.metadata["waiting"]) == ("7 runs wait", 7)


def test_who_may_only_read_is_told_of_those_that_a_listing_has(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = site.client.start("waits", {"n": 1})
    site.client.wait_for_pause(run_id, 20)

    async def refuse(cursor: str | None, limit: int) -> Any:
        raise StoreAccessDenied("no right to modify", store="test")

    monkeypatch.setattr(site.connection.backend.index, "scan_live_runs", refuse)
    judgement = judge_waiting(site.client, CheckLimits())

    assert judgement.description == "at least 1 runs wait"
    assert [wait.data["run"] for wait in judgement.metadata["waits"].records] == [run_id]


def test_a_wait_in_a_sub_flow_is_listed_as_an_answer_names_it(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("asks in a sub-flow", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    (wait,) = judge_waiting(site.client, CheckLimits()).metadata["waits"].records

    site.client.resume(wait.data["run"], wait.data["node"], output=21)
    assert site.client.wait(run_id, 20).status == "completed"


def judge_parts(site: Site) -> Judgement:
    parts = (site.resources[f"flowcraft_{name}"] for name in ("queue", "store", "coordination"))
    return judge_servers(*parts)


def test_a_server_that_answers_says_what_it_is(site: Site) -> None:
    judgement = judge_parts(site)

    assert judgement.passed
    assert judgement.description.startswith("sqlite: SQLite 3.")
    assert (judgement.metadata["servers"], judgement.metadata["servers_away"]) == (1, 0)


def test_a_server_that_is_away_fails_a_check_and_no_step(site: Site) -> None:
    site.home.parent.mkdir(exist_ok=True)
    site.home.write_text("a file in the way")
    result = site.run_job("reconcile_flowcraft_runs", op_selection=["flowcraft_servers"])
    (check,) = result.get_asset_check_evaluations()

    assert result.success
    assert (check.passed, check.severity) == (False, ERROR)
    assert str(site.home) in (check.description or "")


def test_an_error_of_the_linter_fails_the_blueprints_check(site: Site) -> None:
    assert judge_blueprint(site.catalogue.entries["400"]).passed

    # Nobody has registered the node kind.
    app = Flowcraft({"id": "lost", "nodes": [{"id": "a", "uses": "no-such-kind"}]})
    entry = build_catalogue(app, FlowcraftDagsterTranslator(), Presenter()).entries["lost"]
    judgement = judge_blueprint(entry)
    assert (judgement.passed, judgement.severity) == (False, ERROR)
    assert "no-such-kind" in judgement.description


def test_a_store_that_is_away_while_runs_are_judged_is_no_failed_run(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.client.wait(site.client.start("fails", {"n": 1}), 20)

    async def away(run_id: str) -> Any:
        raise StoreUnavailable("no route to host", store="test")

    monkeypatch.setattr(site.connection.backend.state, "load_run", away)
    with pytest.raises(StoreUnavailable):
        judge(site)


def test_checks_of_a_materialized_blueprint_run_with_it(site: Site, worker: WorkerThread) -> None:
    entry = site.catalogue.entries["400"]
    job = site.definitions.resolve_implicit_global_asset_job_def()
    selected = job.get_subset(
        asset_selection={entry.key},
        asset_check_selection={
            dg.AssetCheckKey(entry.key, "runs_succeed"),
            dg.AssetCheckKey(entry.key, "blueprint_is_sound"),
        },
    )
    config = {"ops": {entry.op_name: {"config": {"context": {"n": 1}}}}}
    result = selected.execute_in_process(instance=site.instance, run_config=config)

    assert {event.check_name: event.passed for event in result.get_asset_check_evaluations()} == {
        "runs_succeed": True,
        "blueprint_is_sound": True,
    }
