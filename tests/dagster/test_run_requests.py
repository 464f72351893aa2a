"""Run requests: from the queue to runs, once each, with bad ones put aside."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.orchestration.request_cursor import RequestCursor, read_request_cursor
from flowcraft_dagster.orchestration.request_losses import REQUESTS_KEY
from flowcraft_dagster.orchestration.requested_runs import LEASE_SECONDS
from flowcraft_dagster.orchestration.requests import (
    FIRST_PAUSE_SECONDS,
    LAUNCH_SECONDS,
    MOST_ATTEMPTS,
    PATIENCE_SECONDS,
)
from flowcraft_dagster.ports.records import RequestRange, RunQuery
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.requests import encode_request
from tests.dagster.conftest import Site, WorkerThread

SENSOR = "flowcraft_run_request_sensor"
JOB = "start_requested_flowcraft_runs"
NOW = time.time
OP = "start_requested_flowcraft_runs_op"


def send(site: Site, *values: bytes) -> None:
    site.connection.call(site.connection.backend.requests.send_requests(values))


def ask_for(n: int, **more: Any) -> bytes:
    return encode_request(StartRequest("400", {"n": n}, **more))


def launch(site: Site, request: dg.RunRequest) -> Any:
    return site.run_job(JOB, dict(request.run_config), tags=request.tags)


def test_requests_become_runs(site: Site, worker: WorkerThread) -> None:
    send(site, ask_for(1), ask_for(2), ask_for(3, run_id="mine"))
    tick = site.tick(SENSOR)
    (request,) = tick.run_requests
    result = launch(site, request)

    assert result.success
    run_ids = result.output_for_node(OP)
    assert run_ids[2] == "mine"
    assert [site.client.wait(run_id, 20).outputs["step2"] for run_id in run_ids] == [4, 8, 12]
    event = site.instance.get_latest_materialization_event(REQUESTS_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["started"].value == 3


def test_the_request_carries_places_and_no_payload(site: Site) -> None:
    send(site, ask_for(1), ask_for(2))
    (request,) = site.tick(SENSOR).run_requests

    (piece,) = request.run_config["ops"][OP]["config"]["ranges"]
    topic_id = site.connection.backend.requests._session.topic_id  # type: ignore[attr-defined]
    assert piece == {"topic_id": topic_id, "partition": 0, "start": 1, "end": 3}
    assert request.run_key == f"{topic_id}:0:1-3"


def test_a_second_tick_asks_for_nothing_again(site: Site) -> None:
    send(site, ask_for(1))
    first = site.tick(SENSOR)
    second = site.tick(SENSOR, first.cursor)
    launch(site, first.run_requests[0])
    third = site.tick(SENSOR, second.cursor)

    assert second.run_requests == third.run_requests == []
    assert second.skip_message == "no new requests; 1 launches go on"
    assert second.cursor == first.cursor
    assert third.skip_message == "no new requests"
    assert read_request_cursor(third.cursor)[0].open == ()


def kill(site: Site, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """A Dagster run for a request that ended, or hangs, before its step began."""
    job = site.definitions.resolve_job_def(JOB)
    site.instance.create_run_for_job(job, run_config=dict(request.run_config), tags=dict(request.tags), status=status)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("flowcraft_dagster.orchestration.requests.time", SimpleNamespace(time=lambda: NOW() + seconds))


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_launch_that_failed_is_repeated_until_it_succeeds(
    site: Site, status: dg.DagsterRunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(site, ask_for(1))
    first = site.tick(SENSOR)
    kill(site, first.run_requests[0], status)
    at_once = site.tick(SENSOR, first.cursor)
    pass_time(monkeypatch, FIRST_PAUSE_SECONDS)
    second = site.tick(SENSOR, at_once.cursor)
    (again,) = second.run_requests
    result = launch(site, again)
    third = site.tick(SENSOR, second.cursor)

    assert at_once.run_requests == []
    assert again.run_config == first.run_requests[0].run_config
    # A run key counts for ever: the same one would never be launched again.
    assert again.run_key != first.run_requests[0].run_key
    assert len(result.output_for_node(OP)) == 1
    assert third.run_requests == []


@pytest.mark.parametrize(
    ("status", "holds_lease", "seconds"),
    [
        (dg.DagsterRunStatus.STARTED, False, LEASE_SECONDS),
        (dg.DagsterRunStatus.STARTED, True, PATIENCE_SECONDS),
        (dg.DagsterRunStatus.NOT_STARTED, False, LAUNCH_SECONDS),
        (dg.DagsterRunStatus.STARTING, False, LAUNCH_SECONDS),
    ],
)
def test_a_launch_that_is_not_heard_of_any_more_is_repeated(
    site: Site, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus, holds_lease: bool, seconds: float
) -> None:
    send(site, ask_for(1))
    first = site.tick(SENSOR)
    (request,) = first.run_requests
    kill(site, request, status)
    if holds_lease:
        lease = f"requests/{request.tags['dagster-flowcraft/batch-id']}"
        site.connection.call(site.connection.backend.coordination.acquire_lease(lease, "its run", 3600))
    pass_time(monkeypatch, seconds - 5)
    patient = site.tick(SENSOR, first.cursor)
    pass_time(monkeypatch, seconds + 5)
    impatient = site.tick(SENSOR, patient.cursor)

    assert patient.run_requests == []
    assert len(impatient.run_requests) == 1


def test_a_launch_that_stands_in_the_queue_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send(site, ask_for(1))
    tick = site.tick(SENSOR)
    # Only a coordinator can make such a run.
    queued = SimpleNamespace(dagster_run=SimpleNamespace(status=dg.DagsterRunStatus.QUEUED))
    monkeypatch.setattr(site.instance, "get_run_records", lambda *_, **__: [queued])
    pass_time(monkeypatch, 100 * PATIENCE_SECONDS)

    assert site.tick(SENSOR, tick.cursor).skip_message == "no new requests; 1 launches go on"


def test_a_launch_that_dagster_does_not_know_is_repeated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send(site, ask_for(1))
    first = site.tick(SENSOR)
    pass_time(monkeypatch, LAUNCH_SECONDS + 5)
    second = site.tick(SENSOR, first.cursor)

    assert [request.run_key for request in second.run_requests] == [f"{first.run_requests[0].run_key}#2"]


def test_a_launch_that_never_succeeds_is_given_up_and_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send(site, ask_for(1))
    tick = site.tick(SENSOR)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert len(tick.run_requests) == 1
        kill(site, tick.run_requests[0], dg.DagsterRunStatus.FAILURE)
        pass_time(monkeypatch, attempt * PATIENCE_SECONDS)
        tick = site.tick(SENSOR, tick.cursor)

    (check,) = tick.asset_events
    assert not check.passed
    assert ":0:1-2#20 failed; start them with the job start_requested_flowcraft_runs" in check.description
    assert read_request_cursor(tick.cursor)[0].open == ()


def test_new_requests_wait_while_many_launches_go_on(site: Site) -> None:
    ticks = [site.tick(SENSOR)]
    for n in range(25):
        send(site, ask_for(n))
        ticks.append(site.tick(SENSOR, ticks[-1].cursor))

    assert len(read_request_cursor(ticks[-1].cursor)[0].open) == 20
    assert ticks[-1].skip_message == "20 launches go on; new requests wait for them"
    # One of them succeeds, and what waited goes on from there, together.
    launch(site, ticks[1].run_requests[0])
    (request,) = site.tick(SENSOR, ticks[-1].cursor).run_requests
    assert request.run_key.endswith(":0:21-26")


def test_overlapping_ranges_and_repeated_launches_start_nothing_twice(site: Site) -> None:
    send(site, ask_for(1), ask_for(2))
    lost = site.tick(SENSOR)
    # The cursor of that tick was lost; meanwhile a third request came.
    send(site, ask_for(3))
    repeated = site.tick(SENSOR)
    for tick in (lost, repeated, repeated):
        assert launch(site, tick.run_requests[0]).success

    assert len(site.client.runs(RunQuery(blueprint_id="400"))) == 3


def test_a_lost_cursor_begins_anew_and_starts_nothing_twice(site: Site) -> None:
    send(site, ask_for(1))
    launch(site, site.tick(SENSOR).run_requests[0])
    launch(site, site.tick(SENSOR, "{broken").run_requests[0])

    assert site.log.lines == ["the cursor is not used, since it cannot be read; all requests are looked at anew"]
    assert len(site.client.runs()) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "'blueprintId' is not text"),
        (b'{"blueprintId": "400", "context": 3}', "'context' is not an object"),
        (b'{"blueprintId": "400", "runId": ""}', "'runId' is not text"),
        (b'{"blueprintId": "nosuch"}', "blueprint 'nosuch' is not known here"),
        (json.dumps({"blueprintId": "400", "context": {"n": 2}, "runId": "taken"}).encode(), "another context"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_a_bad_request_becomes_a_dead_letter_and_holds_up_none(site: Site, value: bytes, reason: str) -> None:
    site.client.start("400", {"n": 1}, run_id="taken")
    send(site, ask_for(1), value, ask_for(2))
    (request,) = site.tick(SENSOR).run_requests
    for _ in range(2):
        result = launch(site, request)
        assert result.success
        assert len(result.output_for_node(OP)) == 2

    # Once, although the launch was repeated.
    (letter,) = site.connection.call(site.connection.backend.dead_letters.list_letters(10))
    assert letter.value == value
    assert reason in letter.reason
    assert letter.source.endswith("/0/2")


def test_a_number_names_a_blueprint(site: Site) -> None:
    send(site, b'{"blueprintId": 400, "context": {"n": 1}}')

    assert len(launch(site, site.tick(SENSOR).run_requests[0]).output_for_node(OP)) == 1


def test_many_requests_are_handed_over_in_pieces(site: Site) -> None:
    send(site, *(ask_for(n) for n in range(2500)))
    first = site.tick(SENSOR)
    second = site.tick(SENSOR, first.cursor)

    pieces = [tick.run_requests[0].run_config["ops"][OP]["config"]["ranges"][0] for tick in (first, second)]
    assert [(piece["start"], piece["end"]) for piece in pieces] == [(1, 2001), (2001, 2501)]


def test_a_queue_that_is_away_skips_the_tick_and_the_next_one_recovers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(site, ask_for(1))

    async def away(*args: Any) -> list[RequestRange]:
        raise QueueUnavailable("no broker", queue="test")

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.requests, "find_ranges", away)
        skipped = site.tick(SENSOR, "")
    recovered = site.tick(SENSOR, skipped.cursor)

    assert "job queue test is away: no broker" in skipped.skip_message
    assert skipped.run_requests == []
    assert len(recovered.run_requests) == 1


def test_a_step_whose_queue_is_away_is_repeated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    send(site, ask_for(1))
    (request,) = site.tick(SENSOR).run_requests
    read = site.connection.backend.requests.read_requests
    calls = []

    async def away_at_first(requests: RequestRange) -> Any:
        calls.append(requests)
        if len(calls) == 1:
            raise QueueUnavailable("no broker", queue="test")
        return await read(requests)

    monkeypatch.setattr(site.connection.backend.requests, "read_requests", away_at_first)
    monkeypatch.setattr("flowcraft_dagster.orchestration.following.RETRY_SECONDS", 0.0)

    assert launch(site, request).success
    assert len(calls) == 2


def test_lost_requests_and_a_new_topic_fail_a_check(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        return [RequestRange("new", 0, 40, 42, lost=7)]

    monkeypatch.setattr(site.connection.backend.requests, "find_ranges", find)
    tick = site.tick(SENSOR, RequestCursor("old", {0: 90}).write())

    (check,) = tick.asset_events
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.description == (
        "7 requests were gone before they were read; the queue was made anew; its requests are read from the beginning,"
        " and those of the old one that were not handed over yet are gone"
    )
    assert replace(read_request_cursor(tick.cursor)[0], open=()) == RequestCursor("new", {0: 42})
    site.report(tick)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2}', '{"version": 1, "positions": {"a": 1}, "topic_id": "t", "open": []}']
)
def test_an_unusable_cursor_stands_at_the_beginning(text: str) -> None:
    cursor, reason = read_request_cursor(text)

    assert cursor == RequestCursor()
    assert reason is not None
