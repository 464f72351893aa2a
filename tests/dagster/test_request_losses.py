"""Requests that are gone: seen by the tick or by the launched job, reported by a check that stays failed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import RequestsLost
from flowcraft_dagster.orchestration.connection import close_connections
from flowcraft_dagster.orchestration.request_cursor import RequestCursor, read_request_cursor
from flowcraft_dagster.orchestration.request_losses import LOST_CHECK, REQUESTS_KEY, Losses, sum_up_losses
from flowcraft_dagster.ports.records import RunQuery
from flowcraft_dagster.runtime.requests import StartedRequests
from tests.dagster.conftest import Site
from tests.dagster.test_run_requests import OP, SENSOR, ask_for, launch, send


def change_table(site: Site, statement: str) -> None:
    """Do to the table what somebody else may do, and forget what this process knows of it."""
    path = site.connection.backend.path  # type: ignore[attr-defined]
    close_connections()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def find_check(site: Site) -> Any:
    key = dg.AssetCheckKey(REQUESTS_KEY, LOST_CHECK)
    record = site.instance.get_latest_asset_check_evaluation_record(key)
    assert record is not None
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


def test_the_first_requests_pass_the_check(site: Site) -> None:
    site.report(empty := site.tick(SENSOR))
    send(site, ask_for(1))
    tick = site.tick(SENSOR, empty.cursor)
    site.report(tick)

    assert find_check(site).passed
    # Later ticks say nothing about it.
    send(site, ask_for(2))
    assert site.tick(SENSOR, tick.cursor).asset_events == []


def test_what_is_gone_before_its_turn_is_named_and_the_rest_is_started(site: Site) -> None:
    send(site, *(ask_for(n) for n in range(250)))
    tick = site.tick(SENSOR)
    change_table(site, 'DELETE FROM requests WHERE "offset" <= 120')
    result = launch(site, tick.run_requests[0])

    assert result.success
    assert len(result.output_for_node(OP)) == len(site.client.runs(RunQuery(limit=1000))) == 130
    check = find_check(site)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["lost"].value == 120
    assert "requests 1 to 120 of partition 0 in embedded are gone" in check.description
    event = site.instance.get_latest_materialization_event(REQUESTS_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert {name: event.asset_materialization.metadata[name].value for name in ("requests", "started", "lost")} == {
        "requests": 250,
        "started": 130,
        "lost": 120,
    }


def test_a_loss_stays_reported_until_somebody_has_seen_it(site: Site) -> None:
    send(site, ask_for(1), ask_for(2))
    tick = site.tick(SENSOR)
    change_table(site, 'DELETE FROM requests WHERE "offset" = 1')
    launch(site, tick.run_requests[0])
    send(site, ask_for(3))
    later = site.tick(SENSOR, tick.cursor)
    site.report(later)
    launch(site, later.run_requests[0])
    assert not find_check(site).passed

    selection = dg.AssetSelection.checks(dg.AssetCheckKey(REQUESTS_KEY, LOST_CHECK))
    job = dg.define_asset_job("acknowledge", selection=selection)
    definitions = dg.Definitions.merge(site.definitions, dg.Definitions(jobs=[job]))
    assert definitions.resolve_job_def("acknowledge").execute_in_process(instance=site.instance).success
    assert find_check(site).passed


def test_a_queue_made_anew_before_the_turn_is_a_loss_and_no_endless_failure(site: Site) -> None:
    send(site, *(ask_for(n) for n in range(250)))
    tick = site.tick(SENSOR)
    change_table(site, "UPDATE meta SET value = 'another' WHERE name = 'requests_topic_id'")
    result = launch(site, tick.run_requests[0])
    after = site.tick(SENSOR, tick.cursor)
    site.report(after)

    assert result.success
    assert result.output_for_node(OP) == []
    # The launch has ended, although there was nothing to start; what the new queue holds is handed over.
    (handover,) = read_request_cursor(after.cursor)[0].open
    assert [(piece.topic_id, piece.start, piece.end) for piece in handover.ranges] == [("another", 1, 251)]
    assert len(launch(site, after.run_requests[0]).output_for_node(OP)) == 250
    check = find_check(site)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "the queue was made anew" in check.description


def test_a_tick_that_finds_requests_gone_reports_how_many(site: Site) -> None:
    send(site, *(ask_for(n) for n in range(5)))
    tick = site.tick(SENSOR)
    send(site, *(ask_for(n) for n in range(5)))
    change_table(site, 'DELETE FROM requests WHERE "offset" <= 8')
    after = site.tick(SENSOR, tick.cursor)
    site.report(after)

    assert [piece["start"] for piece in after.run_requests[0].run_config["ops"][OP]["config"]["ranges"]] == [9]
    assert find_check(site).description == "3 requests were gone before they were read"


def test_requests_that_are_all_gone_launch_nothing(site: Site) -> None:
    send(site, ask_for(1))
    tick = site.tick(SENSOR)
    send(site, ask_for(2), ask_for(3))
    change_table(site, "DELETE FROM requests")
    launch(site, tick.run_requests[0])
    after = site.tick(SENSOR, tick.cursor)
    site.report(after)

    assert after.run_requests == []
    assert find_check(site).metadata["lost"].value == 2
    assert site.tick(SENSOR, after.cursor).asset_events == []


def test_a_queue_that_was_cut_back_is_read_again_and_reported(site: Site) -> None:
    send(site, ask_for(1), ask_for(2))
    topic_id = site.tick(SENSOR).run_requests[0].run_key.split(":")[0]
    ahead = RequestCursor(topic_id, {0: 1000})
    tick = site.tick(SENSOR, ahead.write())
    site.report(tick)

    assert tick.run_requests[0].run_key == f"{topic_id}:0:1-3"
    assert find_check(site).description.startswith("the queue was cut back")
    assert site.tick(SENSOR, tick.cursor).asset_events == []


def test_pieces_that_follow_each_other_are_one_loss() -> None:
    outcome = StartedRequests()
    for start, end, partition in ((0, 100, 0), (100, 150, 0), (150, 160, 1), (170, 180, 1)):
        outcome.note_loss(RequestsLost("gone", queue="q", topic_id="t", partition=partition, start=start, end=end))

    assert [(loss.partition, loss.start, loss.end) for loss in outcome.losses] == [
        (0, 0, 150),
        (1, 150, 160),
        (1, 170, 180),
    ]
    assert sum_up_losses(outcome.losses).lost == 170


@pytest.mark.parametrize(("count", "text"), [(2, "0; 1"), (7, "0; 1; 2; 3; 4; and 2 more")])
def test_a_description_names_only_some(count: int, text: str) -> None:
    assert Losses(0, tuple(map(str, range(count)))).describe() == text


def test_a_data_folder_made_anew_is_found_by_the_second_tick(site: Site) -> None:
    send(site, ask_for(1), ask_for(2))
    tick = site.tick(SENSOR)
    shutil.rmtree(site.home)
    lost = site.tick(SENSOR, tick.cursor)
    found = site.tick(SENSOR, lost.cursor)
    # Whoever sends a request now has opened the new file.
    send(site, ask_for(3))
    again = site.tick(SENSOR, found.cursor)
    site.report(again)

    assert "flowcraft.db was deleted or replaced while it was open" in lost.skip_message
    assert lost.cursor == tick.cursor
    assert found.skip_message == "no new requests; 1 launches go on"
    assert len(launch(site, again.run_requests[0]).output_for_node(OP)) == 1
    assert "the queue was made anew" in find_check(site).description
    # The launch of the old requests says that they are gone, and does not fail for ever.
    assert launch(site, tick.run_requests[0]).success
    assert find_check(site).metadata["lost"].value == 2
