"""The reconciler finds what stands still, wakes it, and never writes a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from flowcraft_dagster.backends.memory.jobs import MemoryJobQueue
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.ports.records import Message, Signal
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.reconciler import CLAIM_SECONDS, Reconciler
from flowcraft_dagster.testing.simulation import SimulatedCluster
from tests.unit.runtime.stage import flow, make_app, node, play

APP = (
    flow(node("a", "const", value=1), name="one"),
    flow(node("w", "wait"), name="ask"),
    flow(node("n", "sleep", duration="10s"), name="nap"),
    flow(node("s", "subflow", blueprintId="one"), name="outer"),
    flow(node("s", "subflow", blueprintId="ask"), name="outer-ask"),
    flow(node("s", "slow", ms=200_000, value=1), name="slow"),
)


def _lose_messages(cluster: SimulatedCluster) -> None:
    assert isinstance(cluster.backend.jobs, MemoryJobQueue)
    cluster.backend.jobs.forget_messages()


async def _stop_workers(cluster: SimulatedCluster) -> None:
    for supervisor in cluster._supervisors:
        supervisor.cancel()
    for process in list(cluster.processes):
        process.kill()


async def _start_worker(cluster: SimulatedCluster) -> None:
    cluster._supervisors.append(asyncio.ensure_future(cluster._supervise("new")))


def _copy_runs(cluster: SimulatedCluster) -> dict[str, Any]:
    store: Any = cluster.backend.state
    # Workers may touch runs at any moment, and that is all they do to runs that stand still.
    return {
        run_id: replace(record.snapshot(), header=replace(record.header, updated_at=0.0))
        for run_id, record in store.runs.items()
    }


async def _pass(cluster: SimulatedCluster) -> tuple[int, int, int, int]:
    """A pass; stalled, reconciled, waiting and failed runs. Proves that no run was written."""
    before = _copy_runs(cluster)
    stats = await cluster.reconciler(300.0).run()
    assert _copy_runs(cluster) == before
    return stats.stalled_runs, stats.reconciled_runs, stats.waiting_runs, stats.failed_runs


def test_a_run_whose_message_was_lost_is_woken_once() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await _stop_workers(cluster)
        await cluster.client.start(StartRequest("one", {}, "run"))
        _lose_messages(cluster)
        assert await _pass(cluster) == (0, 0, 0, 0)
        await cluster.clock.sleep(301)
        assert await _pass(cluster) == (1, 1, 0, 0)
        assert await cluster.backend.jobs.measure_lag() == 1
        assert (await _pass(cluster))[1:] == (0, 1, 0)
        assert await cluster.backend.jobs.measure_lag() == 1
        await _start_worker(cluster)
        assert (await cluster.client.wait("run")).status == "completed"
        assert await _pass(cluster) == (0, 0, 0, 0)

    play(make_app(*APP), story)


def test_a_healthy_run_is_left_alone() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        for name in ("slow", "ask", "outer-ask"):
            await cluster.client.start(StartRequest(name, {}, name))
        await cluster.clock.sleep(150)
        assert await _pass(cluster) == (0, 0, 0, 0)
        await cluster.client.wait("slow", 300)
        await cluster.clock.sleep(1000)
        assert await _pass(cluster) == (0, 0, 0, 0)

    play(make_app(*APP), story)


@pytest.mark.parametrize("what", ["answer", "cancel", "timer", "child"])
def test_an_awaiting_run_with_news_is_woken(what: str) -> None:
    name = {"timer": "nap", "child": "outer-ask"}.get(what, "ask")

    async def story(cluster: SimulatedCluster) -> None:
        client, state = cluster.client, cluster.backend.state
        await client.start(StartRequest(name, {}, "run"))
        await client.wait_for_pause("run", 5)
        await _stop_workers(cluster)
        document: dict[str, Any] = {"requestId": "1", "at": cluster.clock.now(), "output": 1}
        if what == "answer":
            await state.add_signal("run", Signal("answer/w", encode(document)))
        if what == "cancel":
            await state.add_signal("run", Signal("cancel", encode({"at": cluster.clock.now(), "reason": "x"})))
        if what == "timer":
            index: Any = cluster.backend.index
            index._timers.clear()
        if what == "child":
            (wait,) = await client.waiting("run")
            await state.add_signal(wait.run_id, Signal("answer/w", encode(document)))
        _lose_messages(cluster)
        assert await _pass(cluster) == (0, 0, 0, 0)
        await cluster.clock.sleep(400)
        assert await _pass(cluster) == (1, 1, 0, 0)
        await _start_worker(cluster)
        assert (await client.wait("run", 60)).status == ("cancelled" if what == "cancel" else "completed")

    play(make_app(*APP), story)


def test_a_child_that_ended_unheard_is_news() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        client = cluster.client
        await client.start(StartRequest("outer-ask", {}, "run"))
        await client.wait_for_pause("run", 5)
        (wait,) = await client.waiting("run")
        send = cluster.backend.jobs.send

        async def lose(messages: Any) -> None:
            await send([message for message in messages if message.key != "run"])

        cluster.backend.jobs.send = lose  # type: ignore[method-assign]
        await client.resume(wait.run_id, "w", output=7)
        await client.wait(wait.run_id, 30)
        cluster.backend.jobs.send = send  # type: ignore[method-assign]
        assert (await client.status("run")).status == "awaiting"
        await cluster.clock.sleep(400)
        assert await _pass(cluster) == (1, 1, 0, 0)
        assert (await client.wait("run", 60)).outputs == {"s": 7}

    play(make_app(*APP), story)


def test_a_queue_that_is_away_is_counted_and_tried_again() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await _stop_workers(cluster)
        await cluster.client.start(StartRequest("one", {}, "run"))
        _lose_messages(cluster)
        await cluster.clock.sleep(400)
        cluster.weather.queue_down = True
        assert await _pass(cluster) == (1, 0, 0, 1)
        cluster.weather.queue_down = False
        assert await _pass(cluster) == (1, 1, 0, 0)
        await cluster.clock.sleep(CLAIM_SECONDS + 1)
        assert await _pass(cluster) == (1, 0, 1, 0)

    play(make_app(*APP), story)


def test_a_pass_that_is_killed_before_it_sends_keeps_no_later_one_from_it() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await _stop_workers(cluster)
        await cluster.client.start(StartRequest("one", {}, "run"))
        _lose_messages(cluster)
        await cluster.clock.sleep(400)
        backend, connection = cluster._connect()
        send = backend.jobs.send

        async def die(messages: Sequence[Message]) -> None:
            connection.kill()
            await send(messages)

        backend.jobs.send = die  # type: ignore[method-assign]
        killed = asyncio.ensure_future(Reconciler(backend, cluster.clock, dice=cluster.dice).run())
        await cluster.clock.sleep(1)
        assert connection.is_dead
        assert await _pass(cluster) == (1, 0, 1, 0)
        await cluster.clock.sleep(CLAIM_SECONDS)
        assert await _pass(cluster) == (1, 1, 0, 0)
        assert not killed.done()

    play(make_app(*APP), story)


def test_a_lost_queue_is_rebuilt_from_the_store() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await _stop_workers(cluster)
        await cluster.client.start_many([StartRequest("one", {}, f"run-{number}") for number in range(450)])
        _lose_messages(cluster)
        stats = await cluster.reconciler().run(everything=True)
        assert (stats.scanned_runs, stats.reconciled_runs) == (450, 450)
        await _start_worker(cluster)
        for number in range(450):
            assert (await cluster.client.wait(f"run-{number}", 60)).status == "completed"

    play(make_app(*APP), story)
