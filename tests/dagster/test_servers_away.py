"""Servers that are away: everything loads, ticks are skipped with a reason, and the next one after that goes on."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster import KafkaBackendResource, Settings, StartRequest
from flowcraft_dagster.orchestration.connection import close_connections, count_connections
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions
from flowcraft_dagster.runtime.requests import encode_request
from tests.dagster.conftest import SAMPLE_APP, Site, WorkerThread, sample_catalogue
from tests.dagster.door import Door
from tests.dagster.sample_app import app as sample_app
from tests.dagster.test_servers import make_backend_resource

STATUS, REQUESTS, COMPLETION = (f"flowcraft_{name}_sensor" for name in ("status", "run_request", "completion"))
SENSORS = (STATUS, REQUESTS, COMPLETION)
SECRET = "hush-hush"
NOWHERE = ("127.0.0.1", 9)


@dataclass
class Doors:
    """Ways to the three servers, shut at first."""

    kafka: Door
    cassandra: Door
    redis: Door

    def open(self) -> None:
        for door in (self.kafka, self.cassandra, self.redis):
            door.open()


def make_site(doors: Doors, instance: dg.DagsterInstance, *, with_password: bool = False, **more: Any) -> Site:
    backend = make_backend_resource(
        brokers=f"127.0.0.1:{doors.kafka.port}",
        contact_points="127.0.0.1",
        cassandra_port=doors.cassandra.port,
        redis=f"redis://:{SECRET}@127.0.0.1:{doors.redis.port}/0"
        if with_password
        else f"redis://127.0.0.1:{doors.redis.port}/0",
        **more,
    )
    resource = FlowcraftClientResource(app=SAMPLE_APP, backend=backend)
    definitions = build_flowcraft_definitions(
        SAMPLE_APP, backend=backend, status_options=StatusSensorOptions(safety_lag_seconds=0.0)
    )
    settings = Settings.from_env(dict(backend.list_variables()))
    return Site(sample_app, settings.home, resource, definitions, sample_catalogue(), instance, is_patient=False)


@pytest.fixture
def away(instance: dg.DagsterInstance) -> Iterator[Site]:
    """A location whose servers are away for good."""
    with ExitStack() as everything:
        doors = Doors(*(everything.enter_context(Door(*NOWHERE)) for _ in range(3)))
        yield make_site(
            doors,
            instance,
            with_password=True,
            kafka={
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "u",
                "sasl_password": SECRET,
                "further": {"KAFKA_REQUEST_SECONDS": "1"},
            },
            cassandra={"username": "u", "password": SECRET},
        )
        close_connections()


def test_definitions_load_and_nothing_was_connected(away: Site) -> None:
    before = count_connections()
    dg.Definitions.validate_loadable(away.definitions)

    assert away.definitions.resolve_asset_graph().get_all_asset_keys()
    assert count_connections() == before


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_tick_is_skipped_with_a_reason(away: Site, sensor: str) -> None:
    tick = tick_for_a_reason(away, sensor, "")

    assert tick.run_requests == []
    assert tick.asset_events == []
    assert "is away: no host answers" in tick.skip_message
    assert tick.skip_message.endswith("The next tick tries again.")
    # It stands where it was: at the very beginning.
    assert not tick.cursor or '"position":null' in tick.cursor


def tick_for_a_reason(site: Site, sensor: str, cursor: str | None = None) -> Any:
    """A tick that says why. On a busy machine a refusal may come too late for the first one."""
    deadline = time.monotonic() + 60.0
    tick = site.tick(sensor, cursor)
    while "has not answered" in tick.skip_message:
        assert time.monotonic() < deadline, tick.skip_message
        tick = site.tick(sensor, tick.cursor)
    return tick


FAR_SECONDS = 60.0
"""What requests to servers may take; a tick must not."""
MOST_TICK_SECONDS = 20.0
"""A tick waits 2.5 s for an answer; the rest is room for a busy machine."""


@pytest.fixture
def deaf(instance: dg.DagsterInstance) -> Iterator[Site]:
    """A location whose servers take connections and never say a word, as one that hangs or is cut off does."""
    with ExitStack() as everything:
        ports = []
        for _ in range(3):
            listening = everything.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(listening.getsockname()[1])
        backend = make_backend_resource(
            brokers=f"127.0.0.1:{ports[0]}",
            contact_points="127.0.0.1",
            cassandra_port=ports[1],
            redis=f"redis://127.0.0.1:{ports[2]}/0",
            # Long enough to be told apart from a tick; what is left at the end is waited for.
            cassandra={"further": {"CASSANDRA_CONNECT_SECONDS": str(FAR_SECONDS / 2)}},
        )
        yield make_deaf_site(backend, instance)
        everything.close()
        close_connections()


def make_deaf_site(backend: KafkaBackendResource, instance: dg.DagsterInstance) -> Site:
    resource = FlowcraftClientResource(app=SAMPLE_APP, backend=backend)
    definitions = build_flowcraft_definitions(SAMPLE_APP, backend=backend)
    settings = Settings.from_env(dict(backend.list_variables()))
    return Site(sample_app, settings.home, resource, definitions, sample_catalogue(), instance, is_patient=False)


def test_ticks_wait_a_moment_only_for_servers_that_say_nothing(deaf: Site) -> None:
    for sensor in SENSORS:
        began = time.monotonic()
        tick = deaf.tick(sensor)

        assert time.monotonic() - began < MOST_TICK_SECONDS
        assert tick.run_requests == []
        assert tick.asset_events == []
        assert tick.skip_message == "the state store has not answered within 2.5 s. The next tick tries again."


def test_a_check_says_which_servers_are_away(away: Site) -> None:
    result = away.run_job("reconcile_flowcraft_runs", op_selection=["flowcraft_servers"])
    (check,) = result.get_asset_check_evaluations()

    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["servers_away"].value == 3
    for name in ("kafka", "cassandra", "redis"):
        assert f"{name}: " in check.description


def test_secrets_are_nowhere_in_what_is_said(
    away: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    ticks = [away.tick(sensor) for sensor in SENSORS]
    job = away.run_job("reconcile_flowcraft_runs", op_selection=["flowcraft_servers"])
    said = [
        repr(away.resources),
        repr(away.resource.backend),
        *(repr(vars(tick)) for tick in ticks),
        *(str(event) for event in job.all_events),
        *(str(check.metadata) for check in job.get_asset_check_evaluations()),
        *away.log.lines,
        caplog.text,
        *capfd.readouterr(),
    ]

    assert SECRET not in "\n".join(said)


def count_what_is_open() -> tuple[int, int]:
    """File descriptors, sockets among them, and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def settle(measure: Callable[[], tuple[int, int]], most: tuple[int, int]) -> tuple[int, int]:
    """The figures once they are at most ``most``: connections are closed in the background."""
    deadline = time.monotonic() + 30.0
    found = measure()
    while any(a > b for a, b in zip(found, most, strict=True)) and time.monotonic() < deadline:
        threading.Event().wait(0.1)
        found = measure()
    return found


def tick_often(site: Site, rounds: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """What is open after a few ticks of every sensor, and after many more."""
    cursors: dict[str, str] = {}

    def tick_all() -> None:
        for sensor in (*SENSORS, "flowcraft_run_failure_sensor"):
            cursors[sensor] = site.tick(sensor, cursors.get(sensor)).cursor or ""

    for _ in range(3):
        tick_all()
    before = count_what_is_open()
    for _ in range(rounds):
        tick_all()
    return before, settle(count_what_is_open, before)


@pytest.mark.slow
def test_a_hundred_ticks_leave_nothing_behind_on_the_embedded_backend(site: Site, worker: WorkerThread) -> None:
    before, after = tick_often(site, 100)

    assert after <= before
    assert count_connections() == 1


@pytest.mark.slow
def test_a_hundred_ticks_leave_nothing_behind_while_servers_are_away(away: Site) -> None:
    before, after = tick_often(away, 100)

    assert after[0] <= before[0]
    assert after[1] <= before[1]


@pytest.fixture
def doors(stack: dict[str, str]) -> Iterator[Doors]:
    """Ways to the real servers, shut at first."""
    host, _, port = stack["KAFKA_BROKERS"].split(",")[0].rpartition(":")
    redis_host, _, redis_port = stack["REDIS_URL"].partition("://")[2].partition("/")[0].rpartition(":")
    with ExitStack() as everything:
        yield Doors(
            everything.enter_context(Door(host, int(port))),
            everything.enter_context(
                Door(stack["CASSANDRA_CONTACT_POINTS"].split(",")[0], int(stack["CASSANDRA_PORT"]))
            ),
            everything.enter_context(Door(redis_host, int(redis_port))),
        )


@pytest.fixture
def reached(doors: Doors, instance: dg.DagsterInstance) -> Iterator[Site]:
    """The location behind the doors."""
    yield make_site(doors, instance)
    close_connections()


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
@pytest.mark.slow
def test_sensors_recover_by_themselves_when_servers_come_back(reached: Site, doors: Doors) -> None:
    skipped = {sensor: tick_for_a_reason(reached, sensor) for sensor in SENSORS}
    assert all("is away" in tick.skip_message for tick in skipped.values())

    doors.open()
    connection = reached.connection
    connection.call(connection.backend.create_schema())
    worker = WorkerThread(sample_app, connection.settings)
    worker.start()
    try:
        run_id = reached.client.start("400", {"n": 1})
        reached.client.wait(run_id, 60)
        connection.call(connection.backend.requests.send_requests([encode_request(StartRequest("400", {"n": 2}))]))
        shown = await_tick(reached, STATUS, skipped[STATUS].cursor, lambda tick: tick.asset_events)
        asked = await_tick(reached, REQUESTS, skipped[REQUESTS].cursor, lambda tick: tick.run_requests)
        assert [event.metadata["runs"].value for event in shown.asset_events if "runs" in event.metadata] == [1]

        # Away once more, in the middle of everything: the connection that there is mends itself.
        doors.cassandra.shut()
        again = reached.tick(STATUS, shown.cursor)
        assert "the state store, asked by flowcraft_status_sensor, has not answered" in again.skip_message
        assert again.cursor == shown.cursor
        doors.cassandra.open()
        second = reached.client.start("400", {"n": 3})
        reached.client.wait(second, 60)
        more = await_tick(reached, STATUS, again.cursor, lambda tick: tick.asset_events)
        assert [event.metadata["runs"].value for event in more.asset_events if "runs" in event.metadata] == [1]
        assert reached.tick(REQUESTS, asked.cursor).run_requests == []
    finally:
        worker.stop()


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
def test_a_broker_that_is_away_holds_up_no_tick_and_no_request_is_lost_or_started_twice(
    doors: Doors, instance: dg.DagsterInstance
) -> None:
    # The broker itself is given more time than a tick may take.
    site = make_site(doors, instance, kafka={"further": {"KAFKA_REQUEST_SECONDS": str(FAR_SECONDS)}})
    doors.open()
    connection = site.connection
    connection.call(connection.backend.create_schema())
    send_some(site, range(5))
    before = await_tick(site, REQUESTS, None, lambda tick: tick.run_requests)

    doors.kafka.shut()
    # A client that has seen the broker knows another way to it than the door.
    close_connections()
    cursor = before.cursor
    for _ in range(3):
        began = time.monotonic()
        tick = site.tick(REQUESTS, cursor)
        assert time.monotonic() - began < MOST_TICK_SECONDS
        assert "the request queue, asked by flowcraft_run_request_sensor, has not answered" in tick.skip_message
        assert (tick.run_requests, tick.cursor) == ([], cursor)

    # What was asked meanwhile goes on, and its answer is that of now.
    doors.kafka.open()
    send_some(site, range(5, 12))
    ranges = list_places(before)
    while len(ranges) < 12:
        after = await_tick(site, REQUESTS, cursor, lambda tick: tick.run_requests)
        cursor = after.cursor
        ranges += list_places(after)
    assert len(ranges) == len(set(ranges)) == 12
    assert site.tick(REQUESTS, cursor).run_requests == []
    close_connections()


def send_some(site: Site, numbers: range) -> None:
    values = [encode_request(StartRequest("400", {"n": n})) for n in numbers]
    site.connection.call(site.connection.backend.requests.send_requests(values))


def list_places(tick: Any) -> list[tuple[int, int]]:
    """Partition and offset of every request that a tick hands over; earlier handovers that are repeated are not."""
    return [
        (piece["partition"], offset)
        for request in tick.run_requests
        if "#" not in request.run_key
        for piece in request.run_config["ops"]["start_requested_flowcraft_runs_op"]["config"]["ranges"]
        for offset in range(piece["start"], piece["end"])
    ]


def await_tick(site: Site, sensor: str, cursor: str | None, is_there: Callable[[Any], Any]) -> Any:
    """Tick until something is found; listings lag behind, and a server needs a moment."""
    deadline = time.monotonic() + 60.0
    tick = site.tick(sensor, cursor)
    while not is_there(tick):
        assert time.monotonic() < deadline, tick.skip_message
        tick = site.tick(sensor, tick.cursor)
    return tick


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
@pytest.mark.slow
def test_a_worker_works_for_a_while_on_servers_and_leaves_no_place_taken(reached: Site, doors: Doors) -> None:
    doors.open()
    reached.connection.call(reached.connection.backend.create_schema())
    worker = reached.resources["flowcraft_worker"]
    first = [reached.client.start("400", {"n": n}) for n in range(5)]
    some = worker.drain(max_jobs=2, max_seconds=120)
    # A place that the first one held on to would keep its partitions from the second for the length of a session.
    rest = worker.drain(max_seconds=120, idle_seconds=2.0)

    assert (some.jobs, rest.is_idle, rest.left) == (2, True, 0)
    assert [reached.client.result(run_id).outputs["step2"] for run_id in first] == [0, 4, 8, 12, 16]
    assert worker.workers() == ()


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
@pytest.mark.slow
def test_a_hundred_ticks_leave_nothing_behind_on_servers(reached: Site, doors: Doors) -> None:
    doors.open()
    reached.connection.call(reached.connection.backend.create_schema())
    before, after = tick_often(reached, 100)

    assert after[0] <= before[0]
    assert after[1] <= before[1]
