"""Requests on a real topic, in the troubles that a topic has; every count is of runs in the store."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.orchestration.requests import build_flowcraft_run_request_sensor
from flowcraft_dagster.ports.records import RequestRange, RunQuery
from tests.conftest import PROJECT
from tests.contract.real_servers import eventually
from tests.dagster.conftest import Site
from tests.dagster.test_request_losses import find_check
from tests.dagster.test_run_requests import OP, SENSOR, ask_for, launch, send
from tests.dagster.test_servers import servers
from tests.dagster.test_servers_away import await_tick, tick_for_a_reason

__all__ = ["servers"]

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis]


def list_completed(site: Site, run_ids: list[str]) -> int:
    return sum(site.client.wait(run_id, 120).status == "completed" for run_id in run_ids)


def count_runs(site: Site) -> int:
    return len(site.client.runs(RunQuery(limit=10_000)))


def read_kafka_settings(site: Site) -> KafkaSettings:
    return read_settings(KafkaSettings, "KAFKA", site.resource.backend.list_variables())


def list_pieces(tick: Any) -> list[RequestRange]:
    (request,) = tick.run_requests
    return [RequestRange(**piece) for piece in request.run_config["ops"][OP]["config"]["ranges"]]


def test_what_retention_took_before_its_turn_is_counted_and_the_rest_runs(servers: Site) -> None:
    send(servers, *(ask_for(n) for n in range(300)))
    tick = servers.tick(SENSOR)
    largest = max(list_pieces(tick), key=lambda piece: piece.end - piece.start)
    settings = read_kafka_settings(servers)
    place = TopicPartition(settings.requests_topic, largest.partition, largest.start + 10)
    client = AdminClient({"bootstrap.servers": ",".join(settings.brokers)})
    client.delete_records([place])[place].result(30)
    result = launch(servers, tick.run_requests[0])

    assert result.success
    run_ids = result.output_for_node(OP)
    assert len(run_ids) == list_completed(servers, run_ids) == count_runs(servers) == 290
    check = find_check(servers)
    assert (check.passed, check.metadata["lost"].value) == (False, 10)
    assert f"requests {largest.start} to {largest.start + 9} of partition {largest.partition}" in check.description
    assert servers.tick(SENSOR, tick.cursor).skip_message == "no new requests"


def test_a_topic_made_anew_before_its_turn_loses_what_it_held_and_nothing_else(servers: Site) -> None:
    send(servers, *(ask_for(n) for n in range(100)))
    first = servers.tick(SENSOR)
    launch(servers, first.run_requests[0])
    send(servers, *(ask_for(n) for n in range(100, 120)))
    second = servers.tick(SENSOR, first.cursor)
    settings = read_kafka_settings(servers)

    async def make_anew() -> None:
        admin = KafkaAdmin(settings)
        await admin.delete_topic(settings.requests_topic)

        async def is_gone() -> bool:
            return await admin.describe_topic(settings.requests_topic) is None

        await eventually(is_gone)
        await admin.create_topics()
        await admin.close()

    servers.connection.call(make_anew())
    gone = launch(servers, second.run_requests[0])
    assert gone.success
    assert gone.output_for_node(OP) == []
    assert find_check(servers).metadata["lost"].value == 20

    # The same offsets as before, in a topic with another id: other run keys and other runs.
    send(servers, *(ask_for(n) for n in range(200, 300)))
    third = servers.tick(SENSOR, second.cursor)
    servers.report(third)
    run_ids = launch(servers, third.run_requests[0]).output_for_node(OP)
    assert third.run_requests[0].run_key != first.run_requests[0].run_key
    assert len(run_ids) == list_completed(servers, run_ids) == 100
    assert count_runs(servers) == 200
    assert "the queue was made anew" in find_check(servers).description


def test_two_sensors_on_one_topic_start_nothing_twice(servers: Site) -> None:
    sensors = [
        build_flowcraft_run_request_sensor(name=name, max_requests=size) for name, size in (("a", 40), ("b", 70))
    ]
    send(servers, *(ask_for(n) for n in range(100)))
    cursors: dict[str, str | None] = {"a": None, "b": None}
    started: list[str] = []
    for _ in range(3):
        for sensor in sensors:
            tick = servers.evaluate(sensor, cursors[sensor.name])
            cursors[sensor.name] = tick.cursor
            for request in tick.run_requests:
                started += launch(servers, request).output_for_node(OP)

    assert len(started) == 200
    assert len(set(started)) == list_completed(servers, sorted(set(started))) == count_runs(servers) == 100


def test_refused_requests_hold_up_none_of_the_others(servers: Site) -> None:
    servers.client.start("400", {"n": 1}, run_id="taken")
    good = [ask_for(n) for n in range(60)]
    unknown, conflict = b'{"blueprintId": "nosuch"}', ask_for(2, run_id="taken")
    send(servers, *good[:30], conflict, *good[30:], unknown, ask_for(1, run_id="taken"))
    (request,) = servers.tick(SENSOR).run_requests
    for _ in range(2):
        result = launch(servers, request)
        assert result.success
        run_ids = result.output_for_node(OP)
        assert len(set(run_ids)) == list_completed(servers, run_ids) == count_runs(servers) == 61

    letters = servers.connection.call(servers.connection.backend.dead_letters.list_letters(10))
    assert sorted(letter.value for letter in letters) == sorted([conflict, unknown])


def test_requests_of_a_megabyte_run_or_become_letters(servers: Site) -> None:
    dice = random.Random(5)
    noise = dice.randbytes(1_040_000)
    text = "".join(dice.choices("abcdefgh", k=1_000_000))
    large = json.dumps({"blueprintId": "400", "context": {"n": 7, "text": text}}).encode()
    topic = read_kafka_settings(servers).requests_topic
    # Another program, whose limit is that of the broker.
    producer = Producer({"bootstrap.servers": os.environ["KAFKA_BROKERS"], "message.max.bytes": 1_048_588})
    for value in (noise, large, ask_for(1)):
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    result = launch(servers, servers.tick(SENSOR).run_requests[0])

    assert result.success
    assert list_completed(servers, result.output_for_node(OP)) == count_runs(servers) == 2
    (letter,) = servers.connection.call(servers.connection.backend.dead_letters.list_letters(10))
    assert letter.value == noise
    assert "not JSON" in letter.reason


class OwnKafka:
    """A broker that one test may kill and start."""

    def __init__(self, data: Path) -> None:
        self._data = data
        shown = self("up", "--local", "--with", "kafka", "--kafka-port", "0", "--json")
        self.brokers = str(json.loads(shown)["environment"]["KAFKA_BROKERS"])

    def __call__(self, *words: str) -> str:
        command = [sys.executable, str(PROJECT / "scripts" / "stack"), *words, "--data", str(self._data)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


@pytest.fixture
def own_kafka(tmp_path: Path, stack: dict[str, str]) -> Iterator[OwnKafka]:
    own = OwnKafka(tmp_path / "kafka")
    stack["KAFKA_BROKERS"], shared = own.brokers, stack["KAFKA_BROKERS"]
    try:
        yield own
    finally:
        stack["KAFKA_BROKERS"] = shared
        own("down", "--delete")


@pytest.mark.chaos
@pytest.mark.slow
def test_a_broker_that_is_killed_in_the_middle_of_a_launch_loses_nothing(
    own_kafka: OwnKafka, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: Site = request.getfixturevalue("servers")
    send(site, *(ask_for(n) for n in range(400)))
    tick = site.tick(SENSOR)
    read = site.connection.backend.requests.read_requests
    restarts: list[threading.Thread] = []

    async def killing(requests: Any) -> Any:
        found = await read(requests)
        if not restarts:
            # The runs of what was just read are stored while the broker is away.
            own_kafka("kill", "kafka")
            restarts.append(threading.Thread(target=lambda: own_kafka("restart", "kafka")))
            restarts[0].start()
        return found

    monkeypatch.setattr(site.connection.backend.requests, "read_requests", killing)
    result = launch(site, tick.run_requests[0])
    restarts[0].join(120)

    # Without success, the sensor would launch it again.
    assert result.success
    run_ids = result.output_for_node(OP)
    assert len(set(run_ids)) == list_completed(site, run_ids) == count_runs(site) == 400


@pytest.mark.slow
def test_a_tick_without_a_broker_is_skipped_and_the_next_one_goes_on(
    own_kafka: OwnKafka, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue("servers")
    site.is_patient = False
    send(site, ask_for(1))
    own_kafka("kill", "kafka")
    skipped = site.tick(SENSOR, "")
    # What the tick left behind has an end of its own, and the ticks that follow tell of it.
    explained = tick_for_a_reason(site, SENSOR, skipped.cursor)
    own_kafka("restart", "kafka")
    found = await_tick(site, SENSOR, explained.cursor, lambda tick: tick.run_requests)

    assert "has not answered within 2.5 s. The next tick tries again." in skipped.skip_message
    assert f"no answer from {own_kafka.brokers} within 10 s. The next tick tries again." in explained.skip_message
    assert skipped.run_requests == explained.run_requests == []
    assert len(found.run_requests) == 1
    assert site.tick(SENSOR, found.cursor).run_requests == []
