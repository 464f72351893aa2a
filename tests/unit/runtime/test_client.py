"""What a client may ask, and what it is told."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from flowcraft_dagster.errors import (
    AlreadyAnswered,
    AmbiguousWait,
    NotWaiting,
    RunConflict,
    RunFinished,
    RunNotFound,
    SerializationError,
    SettingsError,
    SizeLimitExceeded,
    UnknownBlueprint,
    WaitTimeout,
)
from flowcraft_dagster.ports.records import RunQuery
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.start_request import decode_request
from flowcraft_dagster.testing.simulation import SimulatedCluster
from tests.unit.runtime.stage import flow, make_app, node, play

APP = (
    flow(node("w", "wait"), node("z", "echo"), edges="w>z"),
    flow(node("a", "const", value=1), name="one"),
    flow(node("s", "slow", ms=30_000, value=1), name="slow"),
    flow(
        node("s", "put", key="n", value=0),
        node("lp", "loop-controller", condition="true"),
        node("t", "wait"),
        name="asking",
    )
    | {
        "edges": [
            {"source": "s", "target": "lp"},
            {"source": "lp", "target": "t", "action": "continue"},
            {"source": "lp", "target": "s", "action": "break"},
            {"source": "t", "target": "lp"},
        ]
    },
    flow(node("x", "fail", {"fallback": "q"}), node("y", "fail", {"fallback": "q"}), node("q", "wait"), name="two"),
    flow(node("s", "subflow", blueprintId="main"), name="outer"),
)


def test_a_known_run_id_is_that_run() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        for _ in range(3):
            assert await client.start(StartRequest("main", {"n": 1}, "run")) == "run"
        with pytest.raises(RunConflict, match="another context"):
            await client.start(StartRequest("main", {"n": 2}, "run"))
        with pytest.raises(RunConflict, match="blueprint 'main'"):
            await client.start(StartRequest("one", {"n": 1}, "run"))
        await client.wait_for_pause("run")
        await client.resume("run", "w", output=5)
        result = await client.wait("run")
        assert await client.start(StartRequest("main", {"n": 1}, "run")) == "run"
        assert (await client.result("run")).to_json() == result.to_json()

    play(make_app(*APP), story)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (StartRequest("nothing"), UnknownBlueprint),
        (StartRequest("main", {"n": object()}), SerializationError),
        (StartRequest("main", [1]), SerializationError),  # type: ignore[arg-type]
        (StartRequest("main", {"n": "x" * 5000}), SizeLimitExceeded),
        (StartRequest("main", {}, ""), SettingsError),
        (StartRequest("main", {}, "line\nbreak"), SettingsError),
        (StartRequest("main", {}, "run", {"file": "a\udcff"}), SettingsError),
        (StartRequest("main", {}, "run", {"n": 1}), SettingsError),  # type: ignore[dict-item]
    ],
)
def test_a_start_that_cannot_be_is_refused_and_leaves_nothing(request_: StartRequest, error: type[Exception]) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        with pytest.raises(error):
            await cluster.client.start_many([StartRequest("one"), request_])
        page = await cluster.backend.index.scan_live_runs(None, 5)
        assert page.headers == ()
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(*APP), story, max_context_bytes=1000)


def test_one_answer_per_wait() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("main", {}, "run"))
        await client.wait_for_pause("run")
        assert await client.resume("run", "w", output=1, request_id="mine") == "w"
        assert await client.resume("run", "w", output=2, request_id="mine") == "w"
        with pytest.raises((AlreadyAnswered, RunFinished)):
            await client.resume("run", "w", output=3, request_id="yours")
        result = await client.wait("run")
        assert result.outputs == {"w": 1, "z": 1}
        assert await client.resume("run", "w", output=4, request_id="mine") == "w"
        with pytest.raises(RunFinished):
            await client.resume("run", "w", output=5, request_id="late")
        assert (await client.result("run")).to_json() == result.to_json()

    play(make_app(*APP), story)


def test_an_answer_must_name_one_wait_that_is_open() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        with pytest.raises(RunNotFound):
            await client.resume("nobody", "w")
        await client.start(StartRequest("main", {}, "run"))
        await client.wait_for_pause("run")
        with pytest.raises(NotWaiting) as caught:
            await client.resume("run", "z")
        assert caught.value.hint == "Waiting now: w."
        with pytest.raises(SizeLimitExceeded):
            await client.resume("run", "w", output="x" * 5000)
        with pytest.raises(SerializationError):
            await client.resume("run", "w", output=object())
        await client.start(StartRequest("two", {}, "both"))
        await client.wait_for_pause("both")
        with pytest.raises(AmbiguousWait) as several:
            await client.resume("both", "q")
        assert "q@x" in several.value.hint
        assert "q@y" in several.value.hint
        assert await client.resume("both", "q@y", output=1) == "q@y"
        await cluster.clock.sleep(5)
        assert await client.resume("both", "q", output=2) == "q@x"
        assert (await client.wait("both")).status == "completed"

    play(make_app(*APP), story, max_output_bytes=1000)


def test_each_iteration_asks_anew() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("asking", {}, "run"))
        answered = []
        for _ in range(3):
            await cluster.clock.sleep(5)
            answered.append(await client.resume("run", "t"))
        assert answered == ["t#0", "t#1", "t#2"]
        await cluster.clock.sleep(5)
        with pytest.raises(AlreadyAnswered):
            await client.resume("run", "t#0")

    play(make_app(*APP), story)


def test_impatience_fails_no_run() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("slow", {}, "run"))
        with pytest.raises(WaitTimeout) as caught:
            await cluster.client.wait("run", 3)
        assert caught.value.status == "running"
        assert (await cluster.client.wait("run", 60)).status == "completed"

    play(make_app(*APP), story)


def test_waiting_outlives_an_outage() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("slow", {}, "run"))
        cluster.weather.store_down = cluster.weather.queue_down = True
        with pytest.raises(WaitTimeout) as caught:
            await cluster.client.wait("run", 40)
        assert caught.value.status == "unknown"
        assert "away" in str(caught.value.__cause__)
        cluster.weather.store_down = cluster.weather.queue_down = False
        assert (await cluster.client.wait("run", 60)).status == "completed"

    play(make_app(*APP), story)


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_a_finished_run_never_changes(how: str) -> None:
    blueprint: dict[str, Any] = {
        "completed": flow(node("a", "const", value=1)),
        "failed": flow(node("a", "fail")),
        "cancelled": flow(node("a", "wait")),
    }[how]

    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("main", {}, "run"))
        await client.wait_for_pause("run")
        if how == "cancelled":
            await client.cancel("run", "why not")
        result = await client.wait("run")
        header = await client.status("run")
        assert result.status == how
        if how == "cancelled":
            assert await client.cancel("run", "once more") == header
        else:
            with pytest.raises(RunFinished, match=f"run 'run' is {how}"):
                await client.cancel("run")
        with pytest.raises(RunFinished):
            await client.resume("run", "a")
        # Whatever still comes for it.
        await client._wake("run")
        await client.start(StartRequest("main", {}, "run"))
        await cluster.backend.state.touch_runs(["run"], cluster.clock.now())
        await cluster.reconciler(0.0).run(everything=True)
        await cluster.clock.sleep(400)
        assert await client.status("run") == header
        assert (await client.result("run")).to_json() == result.to_json()
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(blueprint), story)


def test_cancelling_twice_is_cancelling_once() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("outer", {}, "run"))
        assert (await client.wait_for_pause("run")).status == "awaiting"
        assert (await client.cancel("run", "first")).status == "awaiting"
        assert (await client.cancel("run", "second")).status in ("awaiting", "cancelling")
        result = await client.wait("run")
        assert (result.status, result.reason) == ("cancelled", "first")
        assert (await client.cancel("run", "third")).reason == "first"
        # Nothing was sent for it.
        assert await cluster.backend.jobs.measure_lag() == 0
        with pytest.raises(RunNotFound):
            await client.cancel("nobody")

    play(make_app(*APP), story)


def test_the_same_answer_inside_a_sub_flow_is_one_answer_even_after_the_end() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("outer", {}, "run"))
        await client.wait_for_pause("run")
        for _ in range(2):
            assert await client.resume("run", "s/w", output=1, request_id="mine") == "w"
        assert (await client.wait("run")).outputs == {"s": 1}
        assert await client.resume("run", "s/w", output=2, request_id="mine") == "w"
        with pytest.raises(RunFinished):
            await client.resume("run", "s/w", output=3, request_id="yours")

    play(make_app(*APP), story)


def test_the_waits_of_a_child_are_listed_with_their_path() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        moment = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)
        await client.start(StartRequest("outer", {"at": moment}, "o"))
        await client.wait_for_pause("o")
        assert [(wait.path, wait.kind) for wait in await client.waiting("o")] == [("s/w", "wait")]
        await client.resume("o", "s/w", output="yes")
        result = await client.wait("o")
        assert result.outputs == {"s": "yes"}
        assert result.context["at"] == "2024-01-02T00:00:00.000Z"

    play(make_app(*APP), story)


async def read_requests(cluster: SimulatedCluster) -> list[bytes]:
    queue = cluster.client.backend.requests
    ranges = await queue.find_ranges({}, None, 100)
    return [request.value for piece in ranges for request in await queue.read_requests(piece)]


def test_a_request_has_the_form_of_the_queue_and_a_run_id() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        moment = datetime.datetime(2025, 1, 31, tzinfo=datetime.timezone.utc)
        requests = [
            StartRequest("not known here", {"n": 1, "at": moment, "text": "\ud800"}, "mine"),
            StartRequest("main", {}),
        ]
        given, made_up = await cluster.client.request_many(requests)
        values = await read_requests(cluster)

        assert given == "mine"
        # As the same context is stored by a start.
        assert values[0] == (
            b'{"blueprintId":"not known here","context":{"n":1,"at":"2025-01-31T00:00:00.000Z","text":"\\ud800"},'
            b'"runId":"mine"}'
        )
        assert decode_request(values[1]) == StartRequest("main", {}, made_up)
        assert await cluster.client.runs(RunQuery()) == ()

    play(make_app(*APP), story)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (StartRequest("main", {"n": object()}), SerializationError),
        (StartRequest("main", [1]), SerializationError),  # type: ignore[arg-type]
        (StartRequest("main", {"n": "x" * 5000}), SizeLimitExceeded),
        (StartRequest("main", {}, ""), SettingsError),
        (StartRequest("main", {}, None, {"team": "a"}), SettingsError),
        (StartRequest(""), SettingsError),
        (StartRequest(400), SettingsError),  # type: ignore[arg-type]
    ],
)
def test_a_request_that_cannot_be_is_refused_and_none_is_sent(request_: StartRequest, error: type[Exception]) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        with pytest.raises(error):
            await cluster.client.request_many([StartRequest("main"), request_])
        assert await read_requests(cluster) == []

    play(make_app(*APP), story, max_context_bytes=1000)
