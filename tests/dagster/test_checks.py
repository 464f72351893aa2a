"""Asset checks: they pass, warn and fail as their limits say, and name what is wrong."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.checks import CheckLimits, judge_blueprint, judge_runs, judge_runtime
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.ports.records import DeadLetter
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


def test_the_runtime_is_judged_by_its_limits(site: Site, worker: WorkerThread) -> None:
    backend = site.connection.backend
    letter = DeadLetter("l1", b"", b"?", {}, "0/1", "unreadable", 1.0)
    site.connection.call(backend.dead_letters.add_letter(letter))
    site.client.wait_for_pause(site.client.start("waits", {"n": 1}), 20)
    wanted = CheckLimits(min_workers=2, max_lag=-1, max_waiting_seconds=-1.0)
    found = {judgement.check_name: judgement for judgement in judge_runtime(site.connection, wanted)}

    assert [judgement.passed for judgement in found.values()] == [False] * 4
    assert found["workers_are_alive"].description == "1 workers alive, 2 wanted"
    assert found["no_dead_letters"].description == "1 dead letters: l1: unreadable"
    assert found["nobody_waits_long"].description.startswith("1 runs wait; longest: ")
    (wait,) = found["nobody_waits_long"].metadata["waits"].records
    assert (wait.data["node"], wait.data["kind"], wait.data["for"]) == ("step1", "wait", "approval")


def test_a_wait_in_a_sub_flow_is_listed_as_an_answer_names_it(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("asks in a sub-flow", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    (judgement,) = [
        judgement
        for judgement in judge_runtime(site.connection, CheckLimits())
        if judgement.check_name == "nobody_waits_long"
    ]
    (wait,) = judgement.metadata["waits"].records

    site.client.resume(wait.data["run"], wait.data["node"], output=21)
    assert site.client.wait(run_id, 20).status == "completed"


def test_lint_errors_fail_the_blueprints_check(site: Site) -> None:
    assert judge_blueprint(site.catalogue.entries["400"]).passed


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
