"""Completion sensors: every finished run is reacted to once, in bounded ticks, and none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.completion import FOLLOW_UP_OP, build_flowcraft_completion_sensor
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions, build_flowcraft_status_sensor
from flowcraft_dagster.ports.records import Page, RunHeader
from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.test_status_sensor import make_header


@dg.job
def reaction() -> None:
    """Stands for what a user launches."""


def make_sensor(**more: Any) -> dg.SensorDefinition:
    more.setdefault("safety_lag_seconds", -1.0)
    return build_flowcraft_completion_sensor(name="reacts", job_name="reaction", **more)


def run_to_end(site: Site, blueprint_id: str, count: int = 1) -> list[str]:
    run_ids = [site.client.start(blueprint_id, {"n": 1}) for _ in range(count)]
    return [site.client.wait(run_id, 20).run_id for run_id in run_ids]


def test_each_completed_run_launches_once(site: Site, worker: WorkerThread) -> None:
    run_ids = run_to_end(site, "400", 2)
    sensor = make_sensor()
    first = site.evaluate(sensor)
    second = site.evaluate(sensor, first.cursor)

    assert sorted(request.run_key for request in first.run_requests) == sorted(run_ids)
    assert first.run_requests[0].tags["dagster-flowcraft/blueprint"] == "400"
    assert second.run_requests == []
    assert second.skip_message == "no completed run to react to"


def test_only_what_is_wanted(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "parent")
    (failed,) = run_to_end(site, "fails")
    completed = run_to_end(site, "400")

    def keys(**wanted: Any) -> set[str]:
        return {request.run_key for request in site.evaluate(make_sensor(**wanted)).run_requests}

    assert keys(statuses=["failed"]) == {failed}
    assert keys(blueprint_ids=["400"]) == set(completed)
    # The sub-flow of `parent` follows that blueprint too.
    assert len(keys(blueprint_ids=["400"], with_children=True)) == 2


def test_a_capped_tick_leaves_the_rest_to_the_next(site: Site, worker: WorkerThread) -> None:
    run_ids = run_to_end(site, "400", 5)
    sensor = make_sensor(max_requests_per_tick=2)
    cursor, seen = None, []
    for _ in range(4):
        tick = site.evaluate(sensor, cursor)
        assert len(tick.run_requests) <= 2
        seen += [request.run_key for request in tick.run_requests]
        cursor = tick.cursor

    assert sorted(seen) == sorted(run_ids)


def test_groups_and_a_function_of_the_runs(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400", 3)

    def make(context: dg.SensorEvaluationContext, runs: Sequence[RunHeader]) -> list[dg.RunRequest]:
        return [dg.RunRequest(run_key=str(len(runs)), run_config={"ops": {}})]

    tick = site.evaluate(make_sensor(runs_per_request=2, request_fn=make))

    assert [request.run_key for request in tick.run_requests] == ["2", "1"]


def test_a_store_that_is_away_skips_the_tick(site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    run_to_end(site, "400")

    async def away(*args: Any) -> Page:
        raise StoreUnavailable("no route to host", store="test")

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.index, "scan_finished_runs", away)
        skipped = site.evaluate(make_sensor())

    assert skipped.run_requests == []
    assert "no route to host" in skipped.skip_message
    assert len(site.evaluate(make_sensor(), skipped.cursor).run_requests) == 1


def test_an_unusable_cursor_is_said(site: Site) -> None:
    site.evaluate(make_sensor(), "{")

    assert site.log.lines == ["the cursor is not used, since it cannot be read; only new runs are looked at"]


@pytest.mark.parametrize("cursor", ["{", "[]", '{"version": 99}'])
def test_an_unusable_cursor_begins_anew_and_reacts_to_new_runs(site: Site, worker: WorkerThread, cursor: str) -> None:
    (run_id,) = run_to_end(site, "400")
    tick = site.evaluate(make_sensor(), cursor)

    (line,) = site.log.lines
    assert "the cursor is not used, since it " in line
    assert [request.run_key for request in tick.run_requests] == [run_id]
    assert site.evaluate(make_sensor(), tick.cursor).run_requests == []


def test_a_tick_whose_cursor_was_lost_asks_for_the_same_again(site: Site, worker: WorkerThread) -> None:
    run_ids = run_to_end(site, "400", 3)
    sensor = make_sensor(runs_per_request=2)
    lost = site.evaluate(sensor)
    run_ids += run_to_end(site, "400")
    repeated = site.evaluate(sensor)

    keys = [[request.run_key for request in tick.run_requests] for tick in (lost, repeated)]
    # Dagster launches the same key once. The group that was not full has become another one.
    assert keys[0][0] == keys[1][0]
    assert len(keys[0]) == len(keys[1]) == 2


def test_an_outage_at_the_very_beginning_loses_no_run(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any) -> Page:
        raise StoreUnavailable("no route to host", store="test")

    sensor = make_sensor(minimum_interval_seconds=1)
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.index, "scan_finished_runs", away)
        skipped = site.evaluate(sensor)
    (run_id,) = run_to_end(site, "400")
    # The outage ends an hour later.
    monkeypatch.setattr(
        "flowcraft_dagster.orchestration.status_cursor.time", SimpleNamespace(time=lambda: now + 3600.0)
    )
    recovered = site.evaluate(sensor, skipped.cursor)

    assert [request.run_key for request in recovered.run_requests] == [run_id]


def end_many(site: Site, count: int) -> None:
    backend = site.connection.backend
    now = time.time()

    async def end() -> None:
        headers = (make_header(f"run-{number}", now + number / 1e6) for number in range(count))
        await asyncio.gather(*(backend.state.create_run(header, b"{}") for header in headers))

    site.connection.call(end())


def test_ten_thousand_runs_in_one_tick_within_the_time_that_a_tick_has(site: Site) -> None:
    end_many(site, 10_000)
    began = time.process_time()
    tick = site.evaluate(make_sensor(runs_per_request=1000, max_requests_per_tick=10))

    assert [len(request.run_key.split("..")) for request in tick.run_requests] == [2] * 10
    assert site.evaluate(make_sensor(), tick.cursor).run_requests == []
    # None of them is wanted: they are passed over in small pages.
    assert site.evaluate(make_sensor(statuses=["failed"])).run_requests == []
    assert time.process_time() - began < 15.0


def test_an_end_that_is_listed_twice_is_reacted_to_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    header = make_header("twice", time.time())

    async def scan(cursor: str | None, until: float, limit: int) -> Page:
        return Page((), cursor) if cursor else Page((header, header), "end")

    monkeypatch.setattr(site.connection.backend.index, "scan_finished_runs", scan)
    (request,) = site.evaluate(make_sensor(runs_per_request=2)).run_requests

    assert request.run_key == "twice"


def test_it_targets_a_job_or_assets(site: Site, worker: WorkerThread) -> None:
    @dg.asset
    def digest() -> None:
        """What is materialized."""

    by_job = build_flowcraft_completion_sensor(name="a", job=reaction, safety_lag_seconds=-1.0)
    by_selection = build_flowcraft_completion_sensor(
        name="b", asset_selection=dg.AssetSelection.assets(digest), safety_lag_seconds=-1.0
    )
    definitions = dg.Definitions.merge(
        site.definitions, dg.Definitions(assets=[digest], sensors=[by_job, by_selection])
    )
    dg.Definitions.validate_loadable(definitions)
    (run_id,) = run_to_end(site, "400")

    assert by_job.job_name == "reaction"
    assert by_selection.asset_selection == dg.AssetSelection.assets(digest)
    for sensor in (by_job, by_selection):
        (request,) = replace(site, definitions=definitions).evaluate(sensor).run_requests
        assert request.run_key == run_id


def test_what_the_status_sensor_reports_triggers_automation_downstream(site: Site, worker: WorkerThread) -> None:
    shown, broken = (site.catalogue.entries[name].key for name in ("400", "fails"))

    @dg.asset(deps=[shown], automation_condition=dg.AutomationCondition.eager())
    def after_success() -> None:
        """Follows runs that completed."""

    @dg.asset(deps=[broken], automation_condition=dg.AutomationCondition.eager())
    def after_failures() -> None:
        """Follows a blueprint of which no run completes."""

    definitions = dg.Definitions.merge(site.definitions, dg.Definitions(assets=[after_success, after_failures]))
    options = StatusSensorOptions(safety_lag_seconds=-1.0)
    sensor = build_flowcraft_status_sensor(catalogue=site.catalogue, options=options)

    def evaluate(before: Any = None) -> Any:
        return dg.evaluate_automation_conditions(
            defs=definitions,
            instance=site.instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=None if before is None else before.cursor,
        )

    first = evaluate()
    run_to_end(site, "400")
    run_to_end(site, "fails")
    tick = site.evaluate(sensor)
    site.report(tick)
    second = evaluate(first)
    site.report(site.evaluate(sensor, tick.cursor))
    third = evaluate(second)

    assert [found.total_requested for found in (first, second, third)] == [0, 1, 0]
    assert second.get_num_requested(after_success.key) == 1


@pytest.mark.parametrize("wrong", [{"statuses": ["running"]}, {"runs_per_request": 0}, {"max_requests_per_tick": 0}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"statuses are|1 or more"):
        make_sensor(**wrong)


def test_the_example_sums_up_what_has_ended(site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    run_to_end(site, "400", 2)
    run_to_end(site, "fails")
    later = "flowcraft_dagster.orchestration.completion.time.time"
    import time

    now = time.time()
    monkeypatch.setattr(later, lambda: now + 5)
    (request,) = site.tick("flowcraft_completion_sensor").run_requests
    monkeypatch.undo()
    monkeypatch.setenv("FLOWCRAFT_TEST_HOME", str(site.home))
    result = site.run_job("follow_up_flowcraft_runs", dict(request.run_config))

    assert result.success
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = output.step_output_data.metadata
    assert (metadata["completed"].value, metadata["failed"].value) == (2, 1)
    assert len(request.run_config["ops"][FOLLOW_UP_OP]["config"]["run_ids"]) == 3
