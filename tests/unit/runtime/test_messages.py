"""Messages: none is dropped in silence, and a bad one holds up nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import Message
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.faults import FaultPoint, arm
from flowcraft_dagster.runtime.messages import ATTEMPTS_HEADER
from flowcraft_dagster.testing.simulation import SimulatedCluster, Weather
from tests.unit.runtime.stage import flow, make_app, node, play

WAIT = flow(node("w", "wait"))
ONE = flow(node("a", "const", value=1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\x00 no text", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"blueprintId":"x"}', "'runId'"),
        (b'{"runId":"' + b"x" * 300 + b'"}', "'runId'"),
        (b'{"runId":"a","timer":7}', "'timer'"),
        (b"[" * 100_000, "over the limit"),
    ],
)
def test_an_unreadable_message_becomes_a_dead_letter_with_its_bytes(value: bytes, reason: str) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.backend.jobs.send([Message("run", value, {"from": "elsewhere"})])
        # Behind it in the same partition.
        await cluster.client.start(StartRequest("main", {}, "run"))
        assert (await cluster.client.wait("run", 30)).status == "completed"
        (letter,) = await cluster.backend.dead_letters.list_letters(5)
        assert (letter.value, letter.key, dict(letter.headers)) == (value, b"run", {"from": "elsewhere"})
        assert reason in letter.reason
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(ONE), story)


def test_a_message_of_an_unknown_run_is_tried_again_and_then_a_dead_letter() -> None:
    value = b'{"runId":"nobody","blueprintId":"main","extra":"kept"}'

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.backend.jobs.send([Message("nobody", value)])
        await cluster.clock.sleep(0.5)
        assert await cluster.backend.dead_letters.list_letters(5) == ()
        await cluster.clock.sleep(60)
        (letter,) = await cluster.backend.dead_letters.list_letters(5)
        assert letter.value == value
        assert "nobody" in letter.reason
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(ONE), story)


def test_a_run_that_appears_late_is_found_by_its_message() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.backend.jobs.send([Message("run", b'{"runId":"run"}')])
        await cluster.clock.sleep(0.4)
        cluster.weather.queue_down = True
        with pytest.raises(QueueUnavailable):
            await cluster.client.start(StartRequest("main", {}, "run"))
        cluster.weather.queue_down = False
        assert (await cluster.client.wait("run", 30)).status == "completed"

    play(make_app(ONE), story)


@pytest.mark.parametrize("attempts", ["5000", "999999999"])
def test_a_huge_count_of_attempts_does_no_harm(attempts: str) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.backend.jobs.send([Message("x", b'{"runId":"x"}', {ATTEMPTS_HEADER: attempts})])
        await cluster.clock.sleep(5)
        assert len(await cluster.backend.dead_letters.list_letters(5)) == 1
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(ONE), story)


@pytest.mark.parametrize("seed", range(30))
def test_a_run_waits_for_a_worker_that_knows_its_node(seed: int) -> None:
    app = make_app(flow(node("a", "late")))

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(cluster.dice.random() * 6)
        assert (await cluster.client.status("run")).status == "running"

        async def late(ctx: NodeContext) -> int:
            return 1

        app.nodes.register("late", late)
        # The message that was put back comes back at once, maybe before its sending is known to be done.
        assert (await cluster.client.wait("run", 120)).status == "completed"

    play(app, story, weather=Weather(delay_seconds=0.5), seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_what_arrives_while_a_run_is_read_is_not_overlooked(seed: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.client.wait_for_pause("run", 30)
        for process in list(cluster.processes):
            process.kill()
        reading = asyncio.Event()

        async def linger(_: FaultPoint) -> None:
            reading.set()
            await cluster.clock.sleep(1)

        arm(FaultPoint.AFTER_CLAIM, linger)
        await cluster.client.start(StartRequest("main", {}, "run"))
        await reading.wait()
        await cluster.client.cancel("run", "while it is read")
        assert (await cluster.client.wait("run", 60)).status == "cancelled"

    play(make_app(WAIT), story, seed=seed, weather=Weather(delay_seconds=0.01))


def test_what_arrives_while_messages_are_settled_is_not_overlooked() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        async def linger(_: FaultPoint) -> None:
            await cluster.clock.sleep(1)

        arm(FaultPoint.BEFORE_SETTLE, linger)
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.client.wait_for_pause("run", 30)
        await cluster.client.cancel("run")
        assert (await cluster.client.wait("run", 60)).status == "cancelled"

    play(make_app(WAIT), story)


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_being_cancelled_holds_no_messages(seed: int) -> None:
    async def hold(ctx: NodeContext) -> None:
        await asyncio.sleep(1000)

    app = make_app(
        flow(node("s", "subflow", blueprintId="inner"), node("a", "hold"), node("b", "hold")),
        flow(node("w", "wait"), name="inner"),
        hold=hold,
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(2)
        await cluster.client.cancel("run")
        assert (await cluster.client.wait("run", 60)).status == "cancelled"
        await cluster.clock.sleep(5)
        assert await cluster.backend.jobs.measure_lag() == 0

    play(app, story, run_concurrency=1, weather=Weather(delay_seconds=0.2), seed=seed)


def test_a_second_wake_of_a_delayed_retry_does_not_end_the_next_attempt() -> None:
    app = make_app(
        flow(node("s", "subflow", {"maxRetries": 2, "retryDelay": 1000, "timeout": 60_000}, blueprintId="inner")),
        flow(node("f", "fickle"), node("w", "slow", ms=20_000, value=1), name="inner", edges="f>w"),
        fickle=_make_fickle(),
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 120)
        assert (result.status, result.errors) == ("completed", ())

    play(app, story, weather=Weather(duplicate_chance=1.0))


def _make_fickle() -> Any:
    calls = []

    async def fickle(ctx: NodeContext) -> int:
        calls.append(ctx.run_id)
        if len(calls) == 1:
            raise ValueError("only the first child fails")
        return 1

    return fickle
