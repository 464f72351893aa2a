"""A worker never goes on in part: when something it cannot do without has ended, it says so and ends as a whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from flowcraft_dagster.errors import SizeLimitExceeded, UnknownBlueprint, WorkerFailed
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.ports.records import DeadLetter, Delivery, Message
from flowcraft_dagster.runtime.burial import KEPT_BYTES
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.lane import RunLane
from flowcraft_dagster.runtime.messages import JobMessage, encode_job
from flowcraft_dagster.runtime.redelivery import Redelivery
from flowcraft_dagster.runtime.timers import TimerService
from flowcraft_dagster.runtime.worker import Worker
from flowcraft_dagster.testing.simulation import SimulatedClock, SimulatedCluster, run_simulated
from tests.unit.runtime.stage import flow, make_app, node, play

SLEEPER = flow(node("a", "const", value=1), node("n", "sleep", duration="20s"), node("z", "add"), edges="a>n n>z")


def _fail_once(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, *, after: int = 3) -> list[int]:
    """Have a method raise something unforeseen, once."""
    whole: Callable[..., Any] = getattr(kind, name)
    calls: list[int] = []

    async def broken(self: Any, *arguments: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == after:
            raise KeyError("unforeseen")
        return await whole(self, *arguments)

    monkeypatch.setattr(kind, name, broken)
    return calls


@pytest.mark.parametrize(
    ("kind", "method", "part"),
    [
        (TimerService, "fire_due", "timers"),
        (Worker, "_beat", "heartbeat"),
        (Worker, "_re_anchor", "anchors"),
        (Worker, "_look_at_threads", "threads"),
        (Worker, "_fetch", "fetching"),
        (Redelivery, "hand_back", "run run"),
        (Redelivery, "renew", "messages"),
    ],
)
def test_a_part_that_dies_ends_the_worker_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type, method: str, part: str
) -> None:
    after = 1 if method in ("hand_back", "renew", "_fetch") else 3
    calls = _fail_once(monkeypatch, kind, method, after=after)
    if method == "hand_back":
        _fail_once(monkeypatch, RunLane, "drive", after=1)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 600)
        assert result.outputs == {"a": 1, "s": 1, "n": 1, "z": 2}
        # Another worker has taken its place.
        (failure,) = cluster.journal.failures
        assert f"the worker cannot go on: {part}: KeyError" in failure

    long = flow(
        node("a", "const", value=1),
        node("s", "slow", ms=45_000, value=1),
        node("n", "sleep", duration="20s"),
        node("z", "add"),
        edges="a>s s>n n>z",
    )
    play(make_app(long), story)
    assert len(calls) >= after
    assert f"{part} cannot go on" in caplog.text


def test_a_run_in_memory_raises_when_nobody_executes_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_once(monkeypatch, TimerService, "fire_due")
    app = make_app(SLEEPER)

    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        local = await LocalRuntime(app, clock=clock, dice=dice).__aenter__()
        await local.client.start(StartRequest("main", {}, "run"))
        with pytest.raises(WorkerFailed, match="timers: KeyError: 'unforeseen'"):
            await local.wait_for_pause("run", None)

    run_simulated(main)


def test_a_worker_that_stops_ends_what_it_has_begun_to_say() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        # Letters take a while to be kept, and the worker is told to stop meanwhile.
        letters: Any = cluster.backend.dead_letters
        whole = letters.add_letter

        async def keep_slowly(letter: DeadLetter) -> None:
            await cluster.clock.sleep(10)
            await whole(letter)

        letters.add_letter = keep_slowly
        await cluster.backend.jobs.send([Message("x", b"no job")])
        while not (cluster.processes and cluster.processes[0].worker.counters.get("dead_letters")):
            await cluster.clock.sleep(0.1)
        (process,) = cluster.processes
        process.worker.stop()
        while process in cluster.processes:
            await cluster.clock.sleep(0.1)
        assert process.worker._background == set()
        await cluster.clock.sleep(60)
        assert len(await cluster.backend.dead_letters.list_letters(9)) == 1
        assert await cluster.backend.jobs.measure_lag() == 0
        assert cluster.journal.failures == []
        # The next worker had nothing to do.
        assert not cluster.processes[0].worker.counters.get("messages")

    play(make_app(SLEEPER), story, drain_seconds=20)


# -- letters that are hard to keep -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "headers", "kept"),
    [(b"x" * (KEPT_BYTES + 1), {}, "only the first"), (b"x", {"h": "y" * 10_000}, "its headers are left out")],
    ids=["value", "headers"],
)
def test_a_message_too_large_for_the_dead_letters_is_kept_in_part(
    value: bytes, headers: dict[str, str], kept: str
) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        letters: Any = cluster.backend.dead_letters
        whole = letters.add_letter

        async def refuse_large(letter: DeadLetter) -> None:
            size = len(letter.value) + sum(map(len, letter.headers.values()))
            if size > KEPT_BYTES // 8 and len(letter.value) != KEPT_BYTES:
                raise SizeLimitExceeded(what="the message", size=size, limit=KEPT_BYTES)
            await whole(letter)

        letters.add_letter = refuse_large
        await cluster.backend.jobs.send([Message("x", value, headers)])
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.client.wait("run", 60)
        (letter,) = await letters.list_letters(9)
        assert letter.reason.startswith("unreadable message")
        assert kept in letter.reason
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(SLEEPER), story)


def test_a_worker_that_stops_does_not_wait_for_its_pauses() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        # Nobody here has the node kind, so the run is put back ever more slowly.
        await cluster.client.start(StartRequest("lacking", {}, "run"))
        await cluster.clock.sleep(50)
        (process,) = cluster.processes
        process.worker.stop()
        begin = cluster.clock.monotonic()
        while process in cluster.processes:
            await cluster.clock.sleep(0.1)
        assert cluster.clock.monotonic() - begin < 1
        assert await cluster.backend.jobs.measure_lag() == 1

    play(make_app(flow(node("a", "nobody has this"), name="lacking")), story, drain_seconds=20)


def test_a_message_that_cannot_be_kept_at_all_is_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        letters: Any = cluster.backend.dead_letters
        whole = letters.add_letter

        async def refuse(letter: DeadLetter) -> None:
            raise TypeError("not this one")

        letters.add_letter = refuse
        await cluster.backend.jobs.send([Message("run", b"no job")])
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 60)
        assert result.status == "completed"
        # Neither dropped nor settled: it is tried again until it can be kept.
        assert await letters.list_letters(9) == ()
        assert await cluster.backend.jobs.measure_lag() == 1
        letters.add_letter = whole
        await asyncio.sleep(60)
        assert len(await letters.list_letters(9)) == 1
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(SLEEPER), story)
    assert "cannot be kept as a dead letter" in caplog.text


def test_a_message_that_goes_to_the_dead_letters_is_not_renewed_meanwhile() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.clock.sleep(1)
        (process,) = cluster.processes
        worker = process.worker
        lane = RunLane(worker._services, "run")
        job = JobMessage("run", "main", "a", attempts=1000)
        lane.offer(Delivery(encode_job(job), 0, 0), job)
        cluster.weather.queue_down = True
        burying = asyncio.ensure_future(worker._redelivery.put_back(lane, UnknownBlueprint(blueprint_id="main")))
        await cluster.clock.sleep(1)
        # It was asked for a moment before the lane ended.
        renewing = asyncio.ensure_future(worker._redelivery.renew(lane))
        await cluster.clock.sleep(1)
        cluster.weather.queue_down = False
        await asyncio.gather(burying, renewing)
        assert worker.counters["dead_letters"] == 1
        assert lane.deliveries == []
        assert worker.counters.get("messages", 0) == 0

    play(make_app(SLEEPER), story)
