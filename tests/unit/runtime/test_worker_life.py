"""A worker's life: heartbeats, fresh messages for long runs, draining, losing partitions, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

import pytest

from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.ports.records import RunQuery
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.testing.simulation import SimulatedClock, SimulatedCluster, Weather, run_simulated
from tests.unit.runtime.stage import flow, make_app, node, play

SLOW = flow(node("s", "slow", ms=60_000, value=1))


def test_a_run_at_work_is_touched_and_so_are_its_ancestors() -> None:
    app = make_app(
        flow(node("s", "subflow", blueprintId="inner")), flow(node("x", "slow", ms=60_000, value=1), name="inner")
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(50)
        page = await cluster.backend.index.scan_live_runs(None, 9)
        assert len(page.headers) == 2
        for header in page.headers:
            assert header.updated_at > cluster.clock.now() - 12
        (record,) = await cluster.backend.workers.list_workers(cluster.clock.now() - 12)
        assert (record.state, record.health["lanes"]) == ("alive", 1)

    play(app, story)


def test_a_long_run_gets_a_fresh_message_so_that_offsets_move_on() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        places = set()
        for _ in range(55):
            await cluster.clock.sleep(1)
            (process,) = cluster.processes
            (lane,) = process.worker._lanes.values()
            places |= {delivery.offset for delivery in lane.deliveries}
        assert len(places) >= 3
        assert await cluster.backend.jobs.measure_lag() <= 2
        result = await cluster.client.wait("run", 60)
        assert [timing.attempt for timing in result.timings] == [1]
        await cluster.clock.sleep(15)
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(SLOW), story)


@pytest.mark.parametrize(("work", "ran"), [(3_000, 1), (60_000, 2)])
def test_a_stopping_worker_drains_and_loses_nothing(work: int, ran: int) -> None:
    starts: list[str] = []

    async def labour(ctx: NodeContext) -> str:
        starts.append(ctx.idempotency_key)
        await asyncio.sleep(work / 1000)
        return "done"

    app = make_app(flow(node("a", "labour"), node("b", "echo"), edges="a>b"), labour=labour)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        cluster.processes[0].worker.stop()
        result = await cluster.client.wait("run", 200)
        assert result.outputs == {"a": "done", "b": "done"}
        assert starts == ["run/a"] * ran

    play(app, story, drain_seconds=10)


def test_a_node_that_is_interrupted_may_clear_up_before_its_worker_is_gone() -> None:
    told: list[str] = []

    async def labour(ctx: NodeContext) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.2)
            told.append(ctx.activation)

    async def stubborn(ctx: NodeContext) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1000)

    app = make_app(flow(node("a", "labour"), node("b", "stubborn")), labour=labour, stubborn=stubborn)

    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        async with LocalRuntime(app, clock=clock, dice=dice) as local:
            await local.client.start(StartRequest("main", {}, "run"))
            await clock.sleep(1)
            begin = clock.monotonic()
        assert told == ["a"]
        # One that does not end is left behind.
        assert clock.monotonic() - begin < 2

    run_simulated(main)


def test_a_worker_that_is_full_takes_nothing_more_as_it_drains() -> None:
    starts: list[str] = []

    async def labour(ctx: NodeContext) -> None:
        starts.append(ctx.run_id)
        await asyncio.sleep(ctx.context.get("seconds"))

    app = make_app(flow(node("a", "labour")), labour=labour)

    async def story(cluster: SimulatedCluster) -> None:
        for number, seconds in enumerate([2, 8]):
            await cluster.client.start(StartRequest("main", {"seconds": seconds}, f"run-{number}"))
        await cluster.clock.sleep(1)
        await cluster.client.start_many([StartRequest("main", {"seconds": 1}, f"late-{n}") for n in range(4)])
        await cluster.clock.sleep(0.5)
        (process,) = cluster.processes
        assert process.worker.describe_health()["paused"]
        process.worker.stop()
        while process in cluster.processes:
            await cluster.clock.sleep(0.1)
        assert starts == ["run-0", "run-1"]
        for number in range(4):
            await cluster.client.wait(f"late-{number}", 60)
        assert sorted(starts[2:]) == [f"late-{number}" for number in range(4)]

    play(app, story, drain_seconds=20, max_lanes=2)


def test_a_partition_that_moves_takes_its_run_along() -> None:
    keys: list[str] = []

    async def labour(ctx: NodeContext) -> int:
        keys.append(ctx.idempotency_key)
        await asyncio.sleep(5)
        return 1

    app = make_app(flow(node("a", "labour"), node("b", "labour"), edges="a>b"), labour=labour)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start_many([StartRequest("main", {}, f"run-{number}") for number in range(12)])
        await cluster.clock.sleep(2)
        # Newcomers make the first worker give up partitions in the middle of nodes.
        for slot in ("b", "c"):
            cluster._supervisors.append(asyncio.ensure_future(cluster._supervise(slot)))
        for number in range(12):
            assert (await cluster.client.wait(f"run-{number}", 200)).outputs == {"a": 1, "b": 1}
        assert await cluster.journal.find_faults(cluster.backend.state) == []
        assert len({process.worker.worker_id for process in cluster.processes}) == 3
        claims = [process.worker.counters.get("claims", 0) for process in cluster.processes]
        assert sum(claims) > 0
        # The first worker was let end what it had begun.
        assert sorted(keys) == sorted(f"run-{number}/{name}" for number in range(12) for name in "ab")

    play(app, story)


def test_built_in_nodes_cost_no_commit_of_their_own() -> None:
    child = flow(node("inner", "echo"), name="child")
    sub = node("sub", "subflow", blueprintId="child")
    app = make_app(flow(node("a", "const", value=1), sub, node("b", "echo"), edges="a>sub sub>b"), child)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.client.wait("run", 60)
        rows = [sorted(row.key for row in commit.rows) for commit in cluster.journal.commits["run"]]
        # The sub-flow is opened by the commit that calls for it; what runs user code waits until that is durable.
        assert rows == [["end/a", "open/sub/1"], ["end/sub"], ["end/b"]]

    play(app, story)


def test_cancelling_reaches_code_that_runs() -> None:
    told: list[str] = []

    async def labour(ctx: NodeContext) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            told.append(f"{ctx.node_id} {ctx.cancelled}")
            raise

    app = make_app(
        flow(node("a", "labour"), node("s", "subflow", blueprintId="inner"), node("z", "echo"), edges="a>z"),
        flow(node("b", "labour"), name="inner"),
        labour=labour,
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {"k": 1}, "run"))
        await cluster.clock.sleep(3)
        await cluster.client.cancel("run", "no more")
        result = await cluster.client.wait("run", 60)
        assert (result.status, result.reason, result.context) == ("cancelled", "no more", {"k": 1})
        assert sorted(line.split()[0] for line in told) == ["a", "b"]
        runs = await cluster.backend.index.list_runs(RunQuery(with_children=True))
        assert {run.status for run in runs} == {"cancelled"}

    play(app, story)


def test_what_a_node_comes_to_after_its_run_was_cancelled_counts_for_nothing() -> None:
    async def labour(ctx: NodeContext) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(8)
        return "too late"

    async def child(ctx: NodeContext) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(30)

    app = make_app(
        flow(node("a", "labour"), node("s", "subflow", blueprintId="inner"), node("z", "echo"), edges="a>z"),
        flow(node("b", "child"), name="inner"),
        labour=labour,
        child=child,
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(3)
        await cluster.client.cancel("run")
        # Longer than a worker waits for what it interrupts, and shorter than the child takes to end.
        result = await cluster.client.wait("run", 60)
        assert (result.status, result.outputs) == ("cancelled", {})
        (process,) = cluster.processes
        assert process.worker.counters.get("ownership_lost", 0) == 0

    play(app, story, drain_seconds=5)


def test_a_reason_is_text_that_every_store_can_hold() -> None:
    """File names have lone surrogates for bytes that are no UTF-8, and errors have file names."""

    async def labour(ctx: NodeContext) -> None:
        raise ValueError("cannot read report-\udcff.csv")

    app = make_app(flow(node("a", "labour")), flow(node("w", "wait"), name="waits"), labour=labour)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 60)
        assert result.reason == "node 'a': ValueError: cannot read report-\\udcff.csv"
        assert result.errors[0].message == "cannot read report-\udcff.csv"
        await cluster.client.start(StartRequest("waits", {}, "other"))
        await cluster.client.wait_for_pause("other", 60)
        await cluster.client.cancel("other", "report-\udcff.csv\nis not needed")
        assert (await cluster.client.wait("other", 60)).reason == "report-\\udcff.csv\nis not needed"

    play(app, story)


@pytest.mark.parametrize("duration", [f"1{'0' * 400}d", "9" * 5000 + "s", "99999999d", 2**64 - 1])
def test_a_sleep_that_would_never_end_fails(duration: Any) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 60)
        assert (result.status, [error.type for error in result.errors]) == ("failed", ["NodeError"])
        assert cluster.processes[0].worker.counters.get("internal_errors", 0) == 0

    play(make_app(flow(node("n", "sleep", duration=duration))), story)


def test_nothing_of_a_lost_partition_goes_on_though_nobody_waited_for_it() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        (process,) = cluster.processes
        (lane,) = process.worker._lanes.values()
        revoking = asyncio.ensure_future(process.worker._revoke(frozenset(lane.partitions), 20.0))
        await cluster.clock.sleep(1)
        assert process.worker.live_runs == 1
        revoking.cancel()
        await asyncio.wait({revoking})
        await cluster.clock.sleep(0.1)
        assert process.worker.live_runs == 0

    play(make_app(SLOW), story)


def test_runs_that_nobody_here_can_run_hold_up_no_others() -> None:
    app = make_app(flow(node("a", "unheard-of"), name="newer"), flow(node("a", "const", value=1)))

    async def story(cluster: SimulatedCluster) -> None:
        # As while a new release is rolled out: the messages come to an old worker first.
        await cluster.client.start_many([StartRequest("newer", {}, f"newer-{number}") for number in range(30)])
        await cluster.clock.sleep(10)
        begin = cluster.clock.monotonic()
        await cluster.client.start_many([StartRequest("main", {}, f"run-{number}") for number in range(20)])
        for number in range(20):
            assert (await cluster.client.wait(f"run-{number}", 60)).status == "completed"
        assert cluster.clock.monotonic() - begin < 2
        # A limit there is all the same.
        await cluster.client.start_many([StartRequest("newer", {}, f"later-{number}") for number in range(60)])
        await cluster.clock.sleep(10)
        (process,) = cluster.processes
        assert 30 < process.worker.live_runs <= 9 * 4

    play(app, story, max_lanes=4)


def test_a_run_that_waits_to_be_put_back_holds_up_no_rebalance() -> None:
    app = make_app(flow(node("a", "unheard-of")))

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start_many([StartRequest("main", {}, f"run-{number}") for number in range(12)])
        # By now each of them waits for many seconds before its message is put back.
        await cluster.clock.sleep(20)
        (process,) = cluster.processes
        assert process.worker.live_runs == 12
        before = process.worker.counters["messages"]
        begin = cluster.clock.monotonic()
        await process.worker._revoke(frozenset(range(12)), 20.0)
        assert cluster.clock.monotonic() - begin < 1
        # They were put back all the same: their next owner counts on.
        await cluster.clock.sleep(1)
        assert process.worker.counters["messages"] == before + 12
        (lane, *_) = process.worker._lanes.values()
        assert lane.attempts == 6

    play(app, story)


async def _cancel_own_task(ctx: NodeContext) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    if ctx.params.get("waits"):
        await asyncio.sleep(1)
    return "done"


@pytest.mark.parametrize("waits", [True, False])
def test_a_node_that_cancels_its_own_task_fails_and_its_run_ends(waits: bool) -> None:
    app = make_app(flow(node("a", "rude", waits=waits), node("b", "const", value=1)), rude=_cancel_own_task)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await cluster.client.wait("run", 60)
        assert (result.status, result.outputs) == ("failed", {"b": 1})
        assert [(error.node_id, error.type) for error in result.errors] == [("a", "CancelledError")]

    play(app, story)


@pytest.mark.parametrize("which", ["store", "queue", "both"])
def test_an_outage_pauses_work_and_fails_no_run(which: str) -> None:
    app = make_app(
        flow(
            node("a", "slow", {"timeout": 20_000}, ms=5_000, value=1),
            node("b", "add", {"maxRetries": 1}),
            node("n", "sleep", duration=1000),
            node("s", "subflow", blueprintId="inner"),
            edges="a>b b>n n>s",
        ),
        flow(node("x", "add"), name="inner"),
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        for begin in (2.0, 1.0, 3.0):
            await cluster.clock.sleep(begin)
            cluster.weather.store_down = which != "queue"
            cluster.weather.queue_down = which != "store"
            await cluster.clock.sleep(600)
            cluster.weather.store_down = cluster.weather.queue_down = False
        result = await cluster.client.wait("run", 600)
        assert (result.status, result.outputs["s"], result.errors) == ("completed", 3, ())
        assert await cluster.journal.find_faults(cluster.backend.state) == []

    play(app, story, workers=2)


def test_losing_every_hint_starts_no_join_early_and_loses_nothing() -> None:
    app = make_app(
        flow(
            node("a", "const", value=1),
            node("b", "slow", ms=300, value=2),
            node("c", "slow", ms=900, value=3),
            node("j", "collect", ids=["b", "c"]),
            edges="a>b a>c b>j c>j",
        )
    )

    async def story(cluster: SimulatedCluster) -> None:
        store: Any = cluster.backend.coordination
        await cluster.client.start_many([StartRequest("main", {}, f"run-{number}") for number in range(5)])
        for _ in range(40):
            await store.flush()
            await cluster.clock.sleep(0.1)
        for number in range(5):
            assert (await cluster.client.wait(f"run-{number}", 30)).outputs["j"] == [2, 3]
        assert await cluster.journal.find_faults(cluster.backend.state) == []

    play(app, story, workers=3, weather=Weather(delay_seconds=0.05))


def test_nodes_beside_each_other_run_together_and_slow_runs_hold_up_nobody() -> None:
    app = make_app(
        flow(*(node(f"n{number}", "slow", ms=10_000, value=number) for number in range(20))),
        flow(node("a", "const", value=1), name="quick"),
    )

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(1)
        for number in range(20):
            await cluster.client.start(StartRequest("quick", {}, f"quick-{number}"))
        begin = cluster.clock.monotonic()
        for number in range(20):
            await cluster.client.wait(f"quick-{number}", 5)
        assert cluster.clock.monotonic() - begin < 2
        await cluster.client.wait("run", 30)
        assert cluster.clock.monotonic() < 15

    play(app, story)


def test_no_secret_is_written_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    secret = "sk-very-secret-token"

    async def labour(ctx: NodeContext) -> str:
        assert ctx.dependencies["key"] == secret
        raise ValueError("something else")

    app = make_app(flow(node("a", "labour")), labour=labour)
    app.dependencies["key"] = secret
    caplog.set_level(logging.DEBUG)

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {"password": secret}, "run"))
        cluster.weather.failure_chance = 0.5
        with contextlib.suppress(Exception):
            await cluster.client.wait("run", 5)
        cluster.weather.failure_chance = 0.0
        result = await cluster.client.wait("run", 60)
        assert secret not in repr(result.errors)
        for process in cluster.processes:
            shown = (process.worker._parts, process.worker._services, process.worker._services.workshop)
            assert secret not in repr(shown)

    play(app, story)
    assert secret not in caplog.text
