"""Requests that nobody should send, and launches in trouble: nothing is held up, doubled or dropped silently."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.orchestration.requests import build_flowcraft_run_request_sensor
from flowcraft_dagster.ports.records import DeadLetter, RequestRange, RunQuery
from flowcraft_dagster.runtime.requests import StartedRequests, replay_letter, start_requests
from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.test_run_requests import OP, SENSOR, ask_for, launch, send

NESTED = b'{"blueprintId": "400", "context": {"n": %s1%s}}'


def list_letters(site: Site) -> tuple[DeadLetter, ...]:
    return site.connection.call(site.connection.backend.dead_letters.list_letters(100))


def count_runs(site: Site) -> int:
    return len(site.client.runs(RunQuery(limit=10_000)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b'{"blueprintId": "400", "context": {"n": NaN}}', "not JSON", id="a word for no number"),
        pytest.param(b'{"blueprintId": "400", "context": {"n": 1e999}}', "beyond the range", id="a number without end"),
        pytest.param('{"blueprintId": "400"}'.encode("utf-16"), "not JSON", id="another encoding"),
        pytest.param(b'{"blueprintId": "400", "context": {"n": "\xff"}}', "not JSON", id="no text inside"),
        pytest.param(NESTED % (b"[" * 900, b"]" * 900), "nested deeper than", id="nested deeply"),
        pytest.param(NESTED % (b"[" * 90_000, b"]" * 90_000), "not JSON", id="nested very deeply"),
        pytest.param(b'{"blueprintId": "\\ud800"}', "blueprint '\\ud800' is not known here", id="half a character"),
        pytest.param(b'{"blueprintId": "a\\nb"}', "blueprint 'a\\nb' is not known here", id="several lines"),
        pytest.param(b'{"blueprintId": "%s"}' % (b"x" * 1_000_000), "blueprint 'xxx", id="a name of a megabyte"),
        pytest.param(
            json.dumps({"blueprintId": "400", "context": {"n": "x" * 5_000_000}}).encode(),
            "context has 5000008 bytes, over the limit of 4194304",
            id="a context over the limit",
        ),
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"\x00" * 1_000_000, "not JSON", id="a megabyte of zeros"),
    ],
)
def test_whatever_is_sent_becomes_a_letter_and_holds_up_none(site: Site, value: bytes, reason: str) -> None:
    send(site, ask_for(1), value, ask_for(2))
    result = launch(site, site.tick(SENSOR).run_requests[0])

    assert result.success
    assert len(result.output_for_node(OP)) == count_runs(site) == 2
    (letter,) = list_letters(site)
    assert letter.value == value
    assert reason in letter.reason
    assert letter.reason.isprintable()
    assert len(letter.reason) <= 2000


def test_half_a_character_in_a_context_is_taken_as_it_is(site: Site, worker: WorkerThread) -> None:
    # Legal in JavaScript, which writes such requests.
    send(site, b'{"blueprintId": "400", "context": {"n": 1, "text": "\\ud800"}}')
    (run_id,) = launch(site, site.tick(SENSOR).run_requests[0]).output_for_node(OP)

    assert site.client.wait(run_id, 60).context["text"] == "\ud800"


def test_two_sensors_at_once_start_nothing_twice(site: Site) -> None:
    sensors = [
        build_flowcraft_run_request_sensor(name=name, max_requests=size) for name, size in (("a", 70), ("b", 30))
    ]
    send(site, *(ask_for(n) for n in range(200)))
    cursors: dict[str, str | None] = {"a": None, "b": None}
    launched: Counter[str] = Counter()
    for _ in range(8):
        for sensor in sensors:
            tick = site.evaluate(sensor, cursors[sensor.name])
            cursors[sensor.name] = tick.cursor
            for request in tick.run_requests:
                launched[sensor.name] += 1
                assert launch(site, request).success

    assert launched == {"a": 3, "b": 7}
    assert count_runs(site) == 200


def test_two_launches_of_one_range_at_once_start_nothing_twice(site: Site) -> None:
    send(site, *(ask_for(n) for n in range(300)))
    (piece,) = site.tick(SENSOR).run_requests[0].run_config["ops"][OP]["config"]["ranges"]
    client = site.client.asynchronous

    async def start_all() -> list[StartedRequests]:
        return await asyncio.gather(
            *(start_requests(client, RequestRange(**piece), 0.0, {"by": name}) for name in "abc")
        )

    outcomes = site.connection.call(start_all())

    assert [len(set(outcome.run_ids)) for outcome in outcomes] == [300] * 3
    assert count_runs(site) == 300


def test_a_broker_that_goes_away_in_the_middle_costs_a_repetition_and_no_run(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(site, *(ask_for(n) for n in range(250)))
    (request,) = site.tick(SENSOR).run_requests
    jobs = site.connection.backend.jobs
    send_jobs = jobs.send
    calls = []

    async def away_in_the_middle(messages: Any) -> None:
        calls.append(len(messages))
        if len(calls) == 2:
            # The runs of this piece are stored, but no worker hears of them yet.
            raise QueueUnavailable("no broker", queue="test")
        await send_jobs(messages)

    monkeypatch.setattr(jobs, "send", away_in_the_middle)
    monkeypatch.setattr("flowcraft_dagster.orchestration.following.RETRY_SECONDS", 0.0)
    result = launch(site, request)

    assert result.success
    assert len(calls) == 5
    run_ids = result.output_for_node(OP)
    assert len(set(run_ids)) == count_runs(site) == 250
    assert {site.client.wait(run_id, 60).status for run_id in run_ids} == {"completed"}


def test_a_launch_that_breaks_off_after_half_is_done_again_from_the_start(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(site, *(ask_for(n) for n in range(250)))
    (request,) = site.tick(SENSOR).run_requests
    read = site.connection.backend.requests.read_requests
    calls = []

    async def broken(requests: Any) -> Any:
        calls.append(requests)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return await read(requests)

    with monkeypatch.context() as patch:
        patch.setattr(site.connection.backend.requests, "read_requests", broken)
        assert not launch(site, request).success
    assert count_runs(site) == 100

    assert launch(site, request).success
    assert count_runs(site) == 250


def test_requested_runs_outlive_the_dagster_run_that_started_them(site: Site) -> None:
    send(site, ask_for(1))
    result = launch(site, site.tick(SENSOR).run_requests[0])
    (run_id,) = result.output_for_node(OP)
    before = site.tick("flowcraft_run_failure_sensor").cursor
    # It succeeded; its process was killed right afterwards, and Dagster counts it as failed.
    site.instance.report_run_failed(result.dagster_run)
    said = site.tick("flowcraft_run_failure_sensor", before).skip_message

    assert said.endswith("asked 0 workflow runs to end, kept 1")
    assert site.client.status(run_id).status == "running"


def test_a_letter_that_is_replayed_twice_starts_one_run(site: Site) -> None:
    value = json.dumps({"blueprintId": "late", "context": {"n": 1}}).encode()
    send(site, value, b"{")
    tick = site.tick(SENSOR)
    launch(site, tick.run_requests[0])
    late, unreadable = list_letters(site)
    # The blueprint is deployed now, and somebody replays the letters; the first time he is interrupted.
    site.client.asynchronous.blueprints = {**site.app.blueprints, "late": site.app.blueprints["400"]}
    for letter in (late, late, unreadable):
        site.connection.call(replay_letter(site.client.asynchronous, letter))
    again = site.tick(SENSOR, tick.cursor)
    launch(site, again.run_requests[0])

    assert [header.run_id for header in site.client.runs()] == [late.letter_id]
    # Replayed with the bytes that were sent, and refused again.
    assert [letter.value for letter in list_letters(site)] == [b"{"]
