"""The status sensor: every run is shown once, whatever happens to ticks, cursors and the store."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration import status_sensor
from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.labels import RECORDER_TAG
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.recorded_runs import Claimed, sort_claimed
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource, FlowcraftClientResource
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions, build_flowcraft_status_sensor
from flowcraft_dagster.ports.records import Page, RunHeader
from tests.dagster.conftest import SAMPLE_APP, LogKeeper, Site, WorkerThread

SENSOR = "flowcraft_status_sensor"


def make_sensor(site: Site, **options: Any) -> dg.SensorDefinition:
    # Runs are shown as soon as they have ended.
    options.setdefault("safety_lag_seconds", -1.0)
    options.setdefault("run_events", 0)
    return build_flowcraft_status_sensor(catalogue=site.catalogue, options=StatusSensorOptions(**options))


def tick(site: Site, cursor: str | None = None, **options: Any) -> Any:
    return about_runs(site.evaluate(make_sensor(site, **options), cursor))


def about_runs(result: Any) -> Any:
    """What a tick says about runs; what it says about blueprints has a test of its own."""
    events = [event for event in result.asset_events if getattr(event, "check_name", "") != "blueprint_is_sound"]
    return SimpleNamespace(asset_events=events, cursor=result.cursor, skip_message=result.skip_message)


def run_to_end(site: Site, blueprint_id: str, count: int = 1) -> None:
    for _ in range(count):
        site.client.wait(site.client.start(blueprint_id, {"n": 1}), 20)


def kinds_of(result: Any) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.asset_key.path[-1]) for event in result.asset_events]


def test_completed_runs_become_one_materialization_with_figures(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400", 3)
    result = tick(site)

    assert kinds_of(result) == [("AssetMaterialization", "400"), ("AssetCheckEvaluation", "400")]
    event, check = result.asset_events
    figures = {name: event.metadata[name].value for name in ("runs", "completed", "failed", "cancelled")}
    assert figures == {"runs": 3, "completed": 3, "failed": 0, "cancelled": 0}
    assert 0 < event.metadata["duration_p50_seconds"].value <= event.metadata["duration_p95_seconds"].value
    rows = [record.data for record in event.metadata["latest_runs"].records]
    ended = [datetime.fromisoformat(str(row["ended"])).timestamp() for row in rows]
    assert len(rows) == 3
    assert ended == sorted(ended, reverse=True)
    assert event.metadata["finished_to"].value - 1 <= ended[0] <= event.metadata["finished_to"].value
    assert event.metadata["latest_outputs"].value == {"step1": 2, "step2": 4}
    assert str(event.metadata["latest_picture"].value).startswith("![")
    assert check.passed
    assert result.skip_message == "3 completed, 1 blueprint"


def test_failures_only_are_an_observation_and_a_failing_check_that_names_them(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "fails", 2)
    result = tick(site)

    assert kinds_of(result) == [("AssetObservation", "fails"), ("AssetCheckEvaluation", "fails")]
    event, check = result.asset_events
    assert event.metadata["failures_by_node"].value == {"step1": 2}
    assert event.metadata["latest_failures"].records[0].data["error"] == "ValueError"
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "node 'step1': ValueError: cannot read 1" in check.description


def test_a_second_tick_reports_nothing_again(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    first = tick(site)
    second = tick(site, first.cursor)

    assert len(first.asset_events) == 2
    assert second.asset_events == []
    assert second.cursor == first.cursor
    assert second.skip_message == "no run has ended since"


def test_a_tick_that_lost_its_cursor_repeats_the_same_batch(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    first = tick(site)
    run_to_end(site, "400")
    # The events of `lost` were stored, its cursor was not; meanwhile another run ended.
    lost = tick(site, first.cursor)
    run_to_end(site, "400")
    repeated = tick(site, first.cursor)

    batches = [result.asset_events[0].metadata["batch_id"].value for result in (first, lost, repeated)]
    assert batches[1] == batches[2] != batches[0]
    assert lost.asset_events[0].metadata["runs"].value == 1
    assert repeated.asset_events[0].metadata["runs"].value == 2


@pytest.mark.parametrize(
    "cursor",
    [
        "{",
        "null",
        '{"version": 99}',
        '{"version": 1}',
        json.dumps({"version": 1, "position": "no place", "generation": "0", "since": 0.0, "held": {}, "judged": ""}),
    ],
)
def test_an_unusable_cursor_begins_anew_and_says_so(site: Site, worker: WorkerThread, cursor: str) -> None:
    run_to_end(site, "400")
    result = tick(site, cursor)

    (line,) = site.log.lines
    assert "anew" in line
    assert result.asset_events[0].metadata["runs"].value == 1
    # Not the batch of a sensor that never was.
    assert result.asset_events[0].metadata["batch_id"].value != "0-start"
    assert tick(site, result.cursor).asset_events == []


def test_a_place_in_another_file_hides_no_run(site: Site, worker: WorkerThread, tmp_path: Path) -> None:
    end_many(site, 5)
    before = tick(site).cursor
    # The folder was lost, and is made anew by the next worker.
    backend = EmbeddedStoreResource(home=str(tmp_path / "new"))
    other = replace(site, resource=FlowcraftClientResource(app=SAMPLE_APP, backend=backend), log=LogKeeper())
    end_many(other, 2)
    result = tick(other, before)

    assert other.log.lines[0].startswith("the store does not know the cursor's place")
    assert result.asset_events[0].metadata["runs"].value == 2
    assert tick(other, result.cursor).asset_events == []


def test_what_ended_long_ago_is_left_out_at_the_beginning(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    result = tick(site, lookback_seconds=-60.0)

    assert result.asset_events == []
    # And stays left out.
    assert tick(site, result.cursor, lookback_seconds=86_400.0).asset_events == []


def test_runs_within_the_safety_lag_are_left_for_later_and_seen_once(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    early = tick(site, safety_lag_seconds=60.0)
    late = tick(site, early.cursor)

    assert early.asset_events == []
    assert late.asset_events[0].metadata["runs"].value == 1
    assert tick(site, late.cursor).asset_events == []


def test_a_store_that_is_away_skips_the_tick_and_loses_nothing(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_end(site, "400")
    before = tick(site).cursor
    run_to_end(site, "400")

    async def away(*args: Any) -> Page:
        raise StoreUnavailable("no route to host", store="test")

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.index, "scan_finished_runs", away)
        skipped = tick(site, before)
    recovered = tick(site, before)

    assert skipped.asset_events == []
    assert skipped.cursor == before
    assert "state store test is away: no route to host" in skipped.skip_message
    assert recovered.asset_events[0].metadata["runs"].value == 1


def test_a_folder_that_cannot_be_made_skips_the_tick_and_the_next_one_recovers(site: Site) -> None:
    site.home.parent.mkdir(exist_ok=True)
    site.home.write_text("a file in the way")
    skipped = tick(site)
    site.home.unlink()

    assert str(site.home) in skipped.skip_message
    assert tick(site).skip_message == "no run has ended since"


def test_child_runs_are_counted_on_their_own_blueprint(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "parent")
    found = tick(site).asset_events
    events = {event.asset_key.path[-1]: event for event in found if isinstance(event, dg.AssetMaterialization)}

    assert events["400"].metadata["as_subflow"].value == 1
    assert events["parent"].metadata["as_subflow"].value == 0


def test_a_run_that_its_dagster_run_recorded_is_not_counted_again(site: Site, worker: WorkerThread) -> None:
    job = {"ops": {"start_flowcraft_runs_op": {"config": {"blueprint_id": "400", "context": {"n": 1}}}}}
    assert site.run_job("start_flowcraft_runs", job).success
    assert site.materialize("400", {"context": {"n": 2}}).success
    run_to_end(site, "400")
    result = tick(site)

    assert result.asset_events[0].metadata["runs"].value == 1
    assert "2 recorded by their Dagster runs" in result.skip_message


def test_a_run_that_took_a_month_is_not_looked_for_among_the_events_of_a_month(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dg.AssetKey(["flowcraft", "400"])
    now = time.time()
    recorded = {"run_id": dg.MetadataValue.text("month")}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=recorded))
    header = replace(make_header("month", now), started_at=now - 30 * 86_400, tags={RECORDER_TAG: "dagster-run"})
    asked: list[dg.AssetRecordsFilter] = []
    fetch = instance.fetch_materializations

    def look(records_filter: Any, **more: Any) -> Any:
        asked.append(records_filter)
        return fetch(records_filter, **more)

    monkeypatch.setattr(instance, "fetch_materializations", look)
    outcome = sort_claimed(instance, [Claimed(key, header)])

    assert [claim.header.run_id for claim in outcome.left] == ["month"]
    assert asked
    assert all(asked_for.after_timestamp is not None for asked_for in asked)
    assert min(asked_for.after_timestamp or 0.0 for asked_for in asked) > now - 600


def test_a_run_whose_dagster_run_failed_to_record_it_is_counted(site: Site, worker: WorkerThread) -> None:
    config = {"ops": {"start_flowcraft_runs_op": {"config": {"blueprint_id": "fails", "context": {"n": 1}}}}}
    assert not site.run_job("start_flowcraft_runs", config).success

    assert tick(site).asset_events[0].metadata["failed"].value == 1


def test_a_run_is_left_to_its_dagster_run_while_that_goes_on(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = site.definitions.resolve_job_def("start_flowcraft_runs")
    going_on = site.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    run_id = site.client.start("400", {"n": 1}, tags={"dagster-flowcraft/recorded-by": going_on.run_id})
    site.client.wait(run_id, 20)
    held = tick(site)
    still_held = tick(site, held.cursor)
    monkeypatch.setattr("flowcraft_dagster.orchestration.status_reading.HOLD_SECONDS", -1.0)
    counted = tick(site, still_held.cursor)

    assert held.asset_events == still_held.asset_events == []
    assert "1 left to their Dagster runs" in held.skip_message
    assert counted.asset_events[0].metadata["runs"].value == 1
    assert tick(site, counted.cursor).asset_events == []


def end_many(site: Site, count: int, first: int = 0) -> None:
    """Runs that have ended, in the store itself: each with its header, as a worker leaves it."""
    backend = site.connection.backend
    now = time.time()

    async def end() -> None:
        for start in range(first, first + count, 1000):
            numbers = range(start, min(start + 1000, first + count))
            headers = (make_header(f"run-{number}", now - 60 + number / 1e4) for number in numbers)
            await asyncio.gather(*(backend.state.create_run(header, b"{}") for header in headers))

    site.connection.call(end())


def test_ten_thousand_runs_in_one_tick_within_the_time_that_a_tick_has(site: Site) -> None:
    end_many(site, 10_000)
    began = time.process_time()
    result = tick(site)
    took = time.process_time() - began

    (event, check) = result.asset_events
    assert (event.metadata["runs"].value, event.metadata["completed"].value) == (10_000, 10_000)
    assert result.skip_message == "10000 completed, 1 blueprint"
    assert check.passed
    # Time of the processor: Dagster gives a tick 60 s by the clock, on whatever machine.
    assert took < 15.0
    assert tick(site, result.cursor).asset_events == []


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_surfaced_in_a_bounded_number_of_ticks(site: Site) -> None:
    count = 100_000
    end_many(site, count)
    cursor, shown, ticks = None, 0, 0
    while shown < count:
        began = time.process_time()
        result = tick(site, cursor, max_runs=40_000)
        assert time.process_time() - began < 30.0
        cursor, ticks = result.cursor, ticks + 1
        assert ticks <= 3
        shown += result.asset_events[0].metadata["runs"].value
        assert result.skip_message.endswith("more next time") is (ticks < 3)

    assert shown == count
    assert tick(site, cursor).asset_events == []


def test_a_tick_whose_time_is_up_goes_on_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    end_many(site, 2_500)
    clock = iter(range(1000))
    # Each look at the clock finds another second gone: two pages fit into a tick.
    monkeypatch.setattr(
        "flowcraft_dagster.orchestration.status_reading.time",
        SimpleNamespace(monotonic=lambda: time.monotonic() + next(clock), time=time.time),
    )
    first = tick(site, max_seconds=1.5)
    monkeypatch.undo()
    monkeypatch.setenv("FLOWCRAFT_TEST_HOME", str(site.home))
    second = tick(site, first.cursor)

    assert first.asset_events[0].metadata["runs"].value == 2_000
    assert first.skip_message.endswith("more next time")
    assert second.asset_events[0].metadata["runs"].value == 500
    batches = [result.asset_events[0].metadata["batch_id"].value for result in (first, second)]
    assert batches[0] != batches[1]


def test_a_check_that_a_tick_had_no_time_for_comes_with_the_next(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "fails")
    with pytest.MonkeyPatch.context() as patch:
        # No time is left for anything but the listing itself.
        patch.setattr(status_sensor, "DETAIL_SECONDS", -60.0)
        listed = tick(site)
    judged = tick(site, listed.cursor)

    assert kinds_of(listed) == [("AssetObservation", "fails")]
    # Nothing could be read of the single runs.
    assert listed.asset_events[0].metadata["failures_by_node"].value == {}
    assert kinds_of(judged) == [("AssetCheckEvaluation", "fails")]
    assert "node 'step1'" in judged.asset_events[0].description
    assert tick(site, judged.cursor).asset_events == []


def test_few_runs_get_an_event_each_beside_the_one_that_counts_them(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    run_to_end(site, "fails")
    result = tick(site, run_events=2)

    assert kinds_of(result) == [
        ("AssetObservation", "400"),
        ("AssetMaterialization", "400"),
        ("AssetCheckEvaluation", "400"),
        ("AssetObservation", "fails"),
        ("AssetObservation", "fails"),
        ("AssetCheckEvaluation", "fails"),
    ]
    one, summary = result.asset_events[:2]
    assert one.metadata["outputs"].value == {"step1": 2, "step2": 4}
    assert str(one.metadata["picture"].value).startswith("![")
    assert one.metadata["batch_id"] == summary.metadata["batch_id"]
    # Counted once.
    assert "runs" not in one.metadata
    assert summary.metadata["runs"].value == 1
    assert result.asset_events[3].metadata["failures"].records[0].data["node"] == "step1"
    assert [kind for kind, _ in kinds_of(tick(site, run_events=1))].count("AssetObservation") == 1


def test_events_link_to_the_dagster_run_and_to_where_people_look(site: Site, worker: WorkerThread) -> None:
    config = {"ops": {"start_flowcraft_runs_op": {"config": {"blueprint_id": "fails", "context": {"n": 1}}}}}
    launched = site.run_job("start_flowcraft_runs", config)
    sensor = build_flowcraft_status_sensor(
        catalogue=site.catalogue,
        presenter=Presenter(run_url="https://logs.example.org/runs/{run_id}"),
        options=StatusSensorOptions(safety_lag_seconds=-1.0),
    )
    one, summary, _ = about_runs(site.evaluate(sensor)).asset_events

    assert one.metadata["dagster_run"].value == summary.metadata["failed_dagster_run"].value == launched.run_id
    assert one.metadata["url"].value == f"https://logs.example.org/runs/{launched.run_id}"


def test_failures_of_nodes_are_numbers_of_their_own(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "fails", 2)

    assert tick(site).asset_events[0].metadata["failures/step1"].value == 2


def test_runs_of_unknown_blueprints_are_only_counted_in_the_ticks_words(site: Site) -> None:
    header = make_header("x", time.time(), blueprint_id="elsewhere")
    site.connection.call(site.connection.backend.state.create_run(header, b"{}"))
    result = tick(site)

    assert result.asset_events == []
    assert "1 of blueprints that this location does not have" in result.skip_message


def test_an_event_transformer_has_the_last_word(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    sensor = build_flowcraft_status_sensor(
        catalogue=site.catalogue,
        options=StatusSensorOptions(safety_lag_seconds=-1.0, run_events=0),
        event_transformer_fn=lambda context, blueprint_id, runs, events: events[:1] if len(runs) == 1 else (),
    )

    assert kinds_of(about_runs(site.evaluate(sensor))) == [("AssetMaterialization", "400")]


def test_the_blueprints_themselves_are_judged_once_and_again_when_one_changes(site: Site) -> None:
    sensor = make_sensor(site)
    first = site.evaluate(sensor)
    second = site.evaluate(sensor, first.cursor)
    entries = dict(site.catalogue.entries)
    entries["400"] = replace(entries["400"], problem="DagsterInvalidDefinitionError: no such group")
    changed = build_flowcraft_status_sensor(catalogue=Catalogue(entries))
    third = site.evaluate(changed, second.cursor)

    assert [event.check_name for event in first.asset_events] == ["blueprint_is_sound"] * len(entries)
    assert second.asset_events == []
    (failed,) = [event for event in third.asset_events if not event.passed]
    assert failed.asset_key == entries["400"].key
    assert failed.description == "DagsterInvalidDefinitionError: no such group"


def test_the_daemon_can_store_what_a_tick_reports(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    run_to_end(site, "fails")
    site.report(tick(site))

    entries = site.catalogue.entries
    assert site.instance.get_latest_materialization_event(entries["400"].key) is not None
    assert site.instance.get_latest_materialization_event(entries["fails"].key) is None
    assert len(site.instance.fetch_observations(entries["fails"].key, limit=5).records) == 1


def make_header(run_id: str, finished_at: float, blueprint_id: str = "400") -> RunHeader:
    return RunHeader(
        run_id=run_id,
        blueprint_id=blueprint_id,
        blueprint_hash="0" * 64,
        input_hash="0" * 64,
        status="completed",
        epoch=1,
        owner=None,
        seq=1,
        started_at=finished_at - 1.0,
        updated_at=finished_at,
        finished_at=finished_at,
    )
