"""Completion sensors: every finished run is reacted to once, in bounded ticks, and none is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.completion import FOLLOW_UP_OP, build_flowcraft_completion_sensor
from flowcraft_dagster.ports.records import Page, RunHeader
from tests.dagster.conftest import Site, WorkerThread


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
