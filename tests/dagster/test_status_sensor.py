"""The status sensor: every run is shown once, whatever happens to ticks, cursors and the store."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions, build_flowcraft_status_sensor
from flowcraft_dagster.ports.records import Page, RunHeader
from tests.dagster.conftest import Site, WorkerThread

SENSOR = "flowcraft_status_sensor"


def make_sensor(site: Site, **options: Any) -> dg.SensorDefinition:
    # Runs are shown as soon as they have ended.
    options.setdefault("safety_lag_seconds", -1.0)
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
    assert len(event.metadata["latest_runs"].records) == 3
    assert event.metadata["latest_outputs"].value == {"step1": 2, "step2": 4}
    assert str(event.metadata["latest_picture"].value).startswith("![")
    assert check.passed
    assert result.skip_message == "3 completed of 1 blueprints"


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
    monkeypatch.setattr("flowcraft_dagster.orchestration.status_sensor.HOLD_SECONDS", -1.0)
    counted = tick(site, still_held.cursor)

    assert held.asset_events == still_held.asset_events == []
    assert "1 left to their Dagster runs" in held.skip_message
    assert counted.asset_events[0].metadata["runs"].value == 1
    assert tick(site, counted.cursor).asset_events == []


def test_ten_thousand_runs_in_one_tick_and_more_in_a_bounded_number(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 10_500
    headers = tuple(make_header(f"run-{number}", 1_000_000_000.0 + number) for number in range(count))

    async def scan(cursor: str | None, until: float, limit: int) -> Page:
        first = int(cursor or 0)
        page = headers[first : first + limit]
        return Page(page, str(first + len(page)))

    monkeypatch.setattr(site.connection.backend.index, "scan_finished_runs", scan)
    first = tick(site, max_runs=10_000, lookback_seconds=1e10)
    second = tick(site, first.cursor, max_runs=10_000)

    assert first.asset_events[0].metadata["runs"].value == 10_000
    assert first.skip_message.endswith("more next time")
    assert second.asset_events[0].metadata["runs"].value == 500
    assert tick(site, second.cursor).asset_events == []


def test_runs_of_unknown_blueprints_are_only_counted_in_the_ticks_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scan(cursor: str | None, until: float, limit: int) -> Page:
        return Page(() if cursor else (make_header("x", until, blueprint_id="elsewhere"),), "1")

    monkeypatch.setattr(site.connection.backend.index, "scan_finished_runs", scan)
    result = tick(site)

    assert result.asset_events == []
    assert "1 of blueprints that this location does not have" in result.skip_message


def test_an_event_transformer_has_the_last_word(site: Site, worker: WorkerThread) -> None:
    run_to_end(site, "400")
    sensor = build_flowcraft_status_sensor(
        catalogue=site.catalogue,
        options=StatusSensorOptions(safety_lag_seconds=-1.0),
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
