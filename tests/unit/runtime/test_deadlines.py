"""The time-out of a sub-flow measures its work: no outage and no killed worker makes a healthy one fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.runtime.availability import MOST_OUTAGES, SLOW_SECONDS, Availability, Interval, join_intervals
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.deadlines import find_moment, subtract
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.testing.simulation import SimulatedClock, SimulatedCluster, run_simulated
from tests.unit.runtime.stage import flow, make_app, node, play

LIMIT = 60.0
NEVER = 3600 * 1000


def _parent(child: str = "child", seconds: float = LIMIT, name: str = "main") -> dict[str, Any]:
    return flow(node("s", "subflow", {"timeout": seconds * 1000}, blueprintId=child), name=name)


CHAIN = flow(
    node("a", "slow", ms=15_000, value=1),
    node("b", "slow", ms=15_000, value=2),
    node("c", "slow", ms=15_000, value=3),
    edges="a>b b>c",
    name="child",
)
NAP = flow(node("a", "const", value=1), node("n", "sleep", duration="40s"), edges="a>n", name="child")
ASK = flow(node("w", "wait"), name="child")
HANG = flow(node("a", "const", value=1), node("h", "slow", ms=NEVER, value=1), edges="a>h", name="child")


async def _end(cluster: SimulatedCluster, patience: float = 4000) -> RunResult:
    return await cluster.client.wait("run", patience)


async def _outage(cluster: SimulatedCluster, which: str, seconds: float) -> None:
    cluster.weather.store_down = which != "queue"
    cluster.weather.queue_down = which != "store"
    await cluster.clock.sleep(seconds)
    cluster.weather.store_down = cluster.weather.queue_down = False


# -- a healthy sub-flow is never failed --------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["store", "queue", "both"])
@pytest.mark.parametrize("begin", [0.1, 5.0, 14.9, 31.0, 44.0])
@pytest.mark.parametrize("child", [CHAIN, NAP], ids=["chain", "nap"])
def test_an_outage_does_not_count(which: str, begin: float, child: dict[str, Any]) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(begin)
        await _outage(cluster, which, 600)
        result = await _end(cluster)
        assert (result.status, result.errors) == ("completed", ())

    for workers in (1, 3):
        play(make_app(_parent(), child), story, workers=workers, seed=workers)


@pytest.mark.parametrize("length", [3.0, 9.0, 20.0, 45.0, 59.5])
def test_a_short_outage_does_not_count_either(length: float) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(2)
        # Two of them, so that together they take longer than the chain has to spare.
        for _ in range(max(2, int(40 / length))):
            await _outage(cluster, "both", length)
            await cluster.clock.sleep(1)
        assert (await _end(cluster)).status == "completed"

    for seed in range(3):
        play(make_app(_parent(), CHAIN), story, workers=2, seed=seed)


def test_a_child_that_could_not_begin_has_all_its_time() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        while await cluster.client.waiting("run") == [] and not await _has_child(cluster):
            await cluster.clock.sleep(0.01)
        # Its message lies in the queue, and nobody takes it.
        for process in list(cluster.processes):
            process.worker._consumer.pause()
            process.worker._paused = True
        await cluster.clock.sleep(300)
        for process in list(cluster.processes):
            process.worker._consumer.resume()
            process.worker._paused = False
        assert (await _end(cluster)).status == "completed"

    play(make_app(_parent(), CHAIN), story)


async def _has_child(cluster: SimulatedCluster) -> bool:
    page = await cluster.backend.index.scan_live_runs(None, 9)
    return any(header.parent is not None for header in page.headers)


@pytest.mark.parametrize("begin", [7.0, 29.0, 43.0])
def test_the_time_without_any_worker_does_not_count(begin: float) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(begin)
        for supervisor in cluster._supervisors:
            supervisor.cancel()
        for process in list(cluster.processes):
            process.kill()
        await cluster.clock.sleep(500)
        cluster._supervisors.append(asyncio.ensure_future(cluster._supervise("new")))
        assert (await _end(cluster)).status == "completed"

    for child in (CHAIN, NAP):
        play(make_app(_parent(), child), story)


@pytest.mark.parametrize("how", ["kill", "freeze", "lose"])
def test_work_that_begins_again_has_its_time_again(how: str) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        # Shortly before a node of 50 s ends, and again when it has begun anew.
        for _ in range(3):
            await cluster.clock.sleep(45)
            for process in list(cluster.processes):
                if how == "kill":
                    process.kill()
                else:
                    asyncio.ensure_future(process.freeze(30, loses_membership=how == "lose"))  # noqa: RUF006
        assert (await _end(cluster)).status == "completed"

    child = flow(node("a", "slow", ms=50_000, value=1), name="child")
    for seed in range(4):
        play(make_app(_parent(), child), story, workers=2, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_worker_that_stands_still_takes_no_time_from_a_sub_flow(seed: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(40)
        owners = {header.owner for header in (await cluster.backend.index.scan_live_runs(None, 9)).headers}
        for process in list(cluster.processes):
            if process.worker.worker_id in owners:
                # Its partitions stay with it; the other worker may judge the parent meanwhile.
                asyncio.ensure_future(process.freeze(200, loses_membership=False))  # noqa: RUF006
        assert (await _end(cluster)).status == "completed"

    child = flow(node("z", "const", value=1), node("a", "slow", ms=50_000, value=1), edges="z>a", name="child")
    play(make_app(_parent(), child), story, workers=2, seed=seed)


@pytest.mark.parametrize("work", [190_000, 190_100])
@pytest.mark.parametrize("seed", range(12))
def test_work_that_ends_about_the_end_of_a_standstill_is_in_time(seed: int, work: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(40)
        child = next(run for run in (await cluster.backend.index.scan_live_runs(None, 9)).headers if run.parent)
        for process in list(cluster.processes):
            if process.worker.worker_id == child.owner:
                asyncio.ensure_future(process.freeze(150, loses_membership=False))  # noqa: RUF006
        assert (await _end(cluster)).status == "completed"

    # What takes 40.1 s takes 190.1 s where everything stands still for 150 s.
    blueprint = flow(node("z", "const", value=1), node("a", "slow", ms=work, value=1), edges="z>a", name="child")
    play(make_app(_parent(), blueprint), story, workers=2, seed=seed)


@pytest.mark.parametrize("seed", range(12))
def test_who_judges_knows_of_an_outage_that_only_others_have_met(seed: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(2)
        # Together more than the 45 s of work have to spare; the second one ends shortly before the time is over.
        await _outage(cluster, "store", 4.4)
        await cluster.clock.sleep(37.6)
        await _outage(cluster, "store", 4.4)
        assert (await _end(cluster)).status == "completed"

    # Heartbeats are so rare that a worker that has nothing to do meets no outage.
    play(make_app(_parent(seconds=50), CHAIN), story, workers=3, seed=seed, heartbeat_seconds=60)


@pytest.mark.parametrize("seed", range(6))
def test_a_child_whose_owner_is_dead_has_time_until_it_is_taken_over(seed: int) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(40)
        child = next(run for run in (await cluster.backend.index.scan_live_runs(None, 9)).headers if run.parent)
        for process in list(cluster.processes):
            if process.worker.worker_id == child.owner:
                # Dead, and the queue takes long to notice.
                process.connection.is_dead = True
                await cluster.clock.sleep(100)
                process.kill()
        assert (await _end(cluster)).status == "completed"

    blueprint = flow(node("z", "const", value=1), node("a", "slow", ms=50_000, value=1), edges="z>a", name="child")
    play(make_app(_parent(), blueprint), story, workers=2, seed=seed)


def test_a_worker_that_drains_takes_no_time_from_a_sub_flow() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(40)
        cluster.processes[0].worker.stop()
        assert (await _end(cluster)).status == "completed"

    child = flow(node("a", "slow", ms=50_000, value=1), name="child")
    play(make_app(_parent(), child), story)


def test_a_limit_far_above_knows_of_what_happens_far_below() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(45)
        for process in list(cluster.processes):
            process.kill()
        assert (await _end(cluster)).status == "completed"

    child = flow(node("m", "subflow", blueprintId="grandchild"), name="child")
    grandchild = flow(node("a", "slow", ms=50_000, value=1), name="grandchild")
    play(make_app(_parent(), child, grandchild), story)


def test_an_answer_that_could_not_be_taken_up_in_time_is_in_time() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(30)
        cluster.weather.queue_down = True
        with pytest.raises(FlowcraftError):
            await cluster.client.resume("run", "s/w", output="yes", request_id="once")
        await cluster.clock.sleep(300)
        cluster.weather.queue_down = False
        await cluster.client.resume("run", "s/w", output="yes", request_id="once")
        assert (await _end(cluster)).outputs == {"s": "yes"}

    for seed in range(4):
        play(make_app(_parent(), ASK), story, workers=2, seed=seed)


# -- and one that hangs ends in time -----------------------------------------------------------------------------


@pytest.mark.parametrize("child", [HANG, ASK], ids=["hangs", "waits"])
def test_a_sub_flow_that_takes_too_long_ends_in_time(child: dict[str, Any]) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await _end(cluster)
        assert (result.status, [error.type for error in result.errors]) == ("failed", ["NodeTimeout"])
        assert LIMIT <= cluster.clock.monotonic() < LIMIT + 5

    for workers in (1, 3):
        play(make_app(_parent(), child), story, workers=workers)


@pytest.mark.parametrize("skew", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("child", [HANG, ASK], ids=["hangs", "waits"])
def test_it_ends_though_the_clocks_of_workers_differ(child: dict[str, Any], skew: float) -> None:
    messages: list[int] = []

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await _end(cluster)
        assert [error.type for error in result.errors] == ["NodeTimeout"]
        assert LIMIT - skew <= cluster.clock.monotonic() < LIMIT + skew + 5
        messages.append(sum(process.worker.counters.get("messages", 0) for process in cluster.processes))

    for seed in range(8):
        play(make_app(_parent(), child), story, workers=2, seed=seed, skew=skew)
    # Whoever looks for due timers does not tell an owner whose clock is behind again and again.
    assert max(messages) < 20


@pytest.mark.parametrize("child", [HANG, ASK], ids=["hangs", "waits"])
@pytest.mark.parametrize("which", ["store", "queue", "both"])
def test_after_an_outage_it_ends_as_much_later(child: dict[str, Any], which: str) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(20)
        await _outage(cluster, which, 300)
        result = await _end(cluster)
        assert [error.type for error in result.errors] == ["NodeTimeout"]
        # What was lost before anybody noticed counts as lost: at the most, all the time begins anew.
        assert LIMIT + 250 <= cluster.clock.monotonic() < 320 + LIMIT + 30

    for seed in range(3):
        play(make_app(_parent(), child), story, workers=2, seed=seed)


def test_a_child_that_ended_after_its_time_is_late_also_after_an_outage() -> None:
    async def labour(ctx: NodeContext) -> str:
        # It cannot be interrupted, so it ends after its time.
        loop = asyncio.get_running_loop()
        until = loop.time() + 90
        while loop.time() < until:
            try:
                await asyncio.sleep(until - loop.time())
            except asyncio.CancelledError:
                continue
        return "late"

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        result = await _end(cluster)
        assert [error.type for error in result.errors] == ["NodeTimeout"]

    play(make_app(_parent(), flow(node("a", "labour"), name="child"), labour=labour), story)


def test_looking_again_and_again_leaves_one_timer() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(30)
        await _outage(cluster, "both", 300)
        for _ in range(10):
            await cluster.clock.sleep(1)
            await cluster.client._wake("run")
        index: Any = cluster.backend.index
        assert len({key for _, _, key in index._timers}) == 1
        assert len(index._timers) <= 12
        await _end(cluster)
        await cluster.clock.sleep(100)
        assert index._timers == set()
        assert await cluster.backend.jobs.measure_lag() == 0

    play(make_app(_parent(), ASK), story)


def test_the_reconciler_takes_a_restart_for_no_news() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(5)
        cluster.processes[0].kill()
        while (await cluster.client.status("run")).status != "awaiting":
            await cluster.clock.sleep(1)
        await cluster.clock.sleep(400)
        assert (await cluster.reconciler(300.0).run()).stalled_ids == []

    child = flow(node("a", "slow", ms=20_000, value=1), node("w", "wait"), edges="a>w", name="child")
    play(make_app(_parent(seconds=10_000), child), story)


# -- the arithmetic ----------------------------------------------------------------------------------------------

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))))


def _moments(pieces: Sequence[Interval]) -> set[int]:
    return {second for second in range(40) if any(begin <= second < end for begin, end in pieces)}


@given(intervals, intervals)
def test_subtracting_leaves_exactly_what_is_in_no_hole(pieces: list[Interval], holes: list[Interval]) -> None:
    left = subtract(pieces, holes)
    assert _moments(left) == _moments(pieces) - _moments(holes)
    assert left == sorted(left)
    assert all(first[1] <= second[0] for first, second in pairwise(left))


@given(intervals)
def test_joining_keeps_every_moment(pieces: list[Interval]) -> None:
    joined = join_intervals(pieces)
    assert _moments(joined) == _moments(pieces)
    assert all(first[1] < second[0] for first, second in pairwise(joined))


@given(intervals, st.integers(0, 30), st.integers(1, 20))
def test_a_moment_is_found_by_counting(pieces: list[Interval], begin: int, seconds: int) -> None:
    served = join_intervals([*pieces, (35.0, float("inf"))])
    moment = find_moment(begin, seconds, served)
    whole = range(begin, int(moment))
    assert sum(any(first <= second < end for first, end in served) for second in whole) == seconds


def test_after_a_standstill_others_are_told_before_anything_is_done() -> None:
    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        done: list[str] = []

        async def tell() -> bool:
            done.append("told")
            return len(done) > 2

        async def work() -> None:
            done.append("work")

        patience = Patience(clock, dice, 0.1, 1.0, Availability(clock, 25.0), tell)
        await patience.insist("work", work)
        assert done == ["work"]
        await clock.sleep(30)
        await patience.insist("work", work)
        # It could not be told at first.
        assert done == ["work", "told", "work", "told"]
        await patience.insist("work", work)
        assert done[4:] == ["work"]

    run_simulated(main)


def test_outages_are_noted_from_the_last_answer_on() -> None:
    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        start = clock.now()
        availability = Availability(clock, 25.0)
        await clock.sleep(10)
        availability.note_answer("store")
        await clock.sleep(5)
        availability.note_failure("store")
        await clock.sleep(5)
        availability.note_failure("store")
        assert availability.list_outages() == [(start + 10, start + 20)]
        await clock.sleep(1)
        availability.note_answer("queue")
        availability.note_answer("store")
        assert availability.list_outages() == [(start + 10, start + 21)]
        # The process stood still.
        await clock.sleep(1)
        availability.note_beat()
        await clock.sleep(26)
        assert availability.list_outages() == [(start + 10, start + 21), (start + 22, start + 48)]
        availability.note_beat()
        assert availability.changes > 0
        # An answer that took long is one that was away for as long.
        await clock.sleep(1)
        asked_at = clock.now()
        await clock.sleep(SLOW_SECONDS + 1)
        availability.note_answer("store", asked_at)
        assert availability.list_outages()[-1] == (asked_at, clock.now())
        for _ in range(200):
            await clock.sleep(2)
            availability.note_failure("queue")
            availability.note_answer("queue")
            await clock.sleep(dice.random())
            availability.note_answer("queue")
        found = availability.list_outages()
        assert len(found) <= MOST_OUTAGES
        assert found[0][0] == start + 10

    run_simulated(main)
