"""A worker for a while: it ends by its bounds, takes no more than it may, and leaves what is left to others."""

from __future__ import annotations

import pytest

from flowcraft_dagster.errors import QueueUnavailable
from flowcraft_dagster.ports.records import Message, RunQuery
from flowcraft_dagster.runtime.bounded import WorkBounds, WorkReport, work_within
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.testing.simulation import SimulatedCluster
from tests.unit.runtime.stage import flow, make_app, node, play

ECHO = make_app(flow(node("a", "echo"), node("b", "echo"), edges="a>b"))


async def work(cluster: SimulatedCluster, bounds: WorkBounds) -> WorkReport:
    backend = cluster.connect_process()
    worker = cluster.app.worker(cluster.settings, backend=backend, clock=cluster.clock, dice=cluster.dice)
    return await work_within(worker, backend.jobs, cluster.clock, bounds)


async def start(cluster: SimulatedCluster, count: int) -> None:
    await cluster.client.start_many([StartRequest("main", {}, f"run-{number}") for number in range(count)])


async def list_statuses(cluster: SimulatedCluster) -> list[str]:
    return sorted(header.status for header in await cluster.client.runs(RunQuery(with_children=True)))


def test_it_ends_when_there_is_nothing_left_to_do() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 5)
        report = await work(cluster, WorkBounds(idle_seconds=2.0))

        assert (report.is_idle, report.jobs, report.left) == (True, 5, 0)
        assert 2.0 <= report.seconds < 10.0
        assert await list_statuses(cluster) == ["completed"] * 5

    play(ECHO, story, workers=0)


def test_idle_seconds_count_from_the_last_work() -> None:
    app = make_app(flow(node("a", "slow", ms=7_000, value=1)))

    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 1)
        report = await work(cluster, WorkBounds(idle_seconds=3.0))

        assert report.is_idle
        assert 10.0 <= report.seconds < 15.0

    play(app, story, workers=0)


def test_it_takes_no_more_jobs_than_it_may_and_carries_them_to_their_end() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 5)
        report = await work(cluster, WorkBounds(max_jobs=2))

        assert (report.is_idle, report.jobs, report.left) == (False, 2, 3)
        assert await list_statuses(cluster) == ["completed"] * 2 + ["running"] * 3

    play(ECHO, story, workers=0)


def test_a_message_that_nobody_can_read_is_put_aside_before_it_leaves() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.backend.jobs.send([Message("x", b"no job")])
        report = await work(cluster, WorkBounds(max_jobs=1))

        assert (report.jobs, report.left) == (1, 0)
        (letter,) = await cluster.backend.dead_letters.list_letters(10)
        assert letter.value == b"no job"

    play(ECHO, story, workers=0)


def test_a_worker_that_is_stopped_at_once_leaves_nothing_behind() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 1)
        assert (await work(cluster, WorkBounds(max_seconds=0.0))).left == 1

    play(ECHO, story, workers=0)


def test_what_waits_for_more_than_it_may_take_is_left_to_others() -> None:
    app = make_app(flow(node("s", "subflow", blueprintId="inner")), flow(node("x", "echo"), name="inner"))

    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 1)
        report = await work(cluster, WorkBounds(max_jobs=1, max_seconds=30.0))

        assert report.jobs == 1
        assert report.left >= 1
        assert "completed" not in await list_statuses(cluster)
        assert (await work(cluster, WorkBounds(idle_seconds=2.0))).is_idle
        assert await list_statuses(cluster) == ["completed"] * 2

    play(app, story, workers=0)


def test_it_leaves_in_time_and_loses_nothing() -> None:
    app = make_app(flow(node("a", "slow", ms=60_000, value=1)))

    async def story(cluster: SimulatedCluster) -> None:
        await start(cluster, 1)
        report = await work(cluster, WorkBounds(max_seconds=20.0, idle_seconds=1.0))

        # The drain time of the options is 5 s.
        assert 20.0 <= report.seconds <= 26.0
        assert (report.is_idle, report.left) == (False, 1)
        assert await list_statuses(cluster) == ["running"]
        assert (await work(cluster, WorkBounds(idle_seconds=1.0))).left == 0
        assert await list_statuses(cluster) == ["completed"]

    play(app, story, workers=0)


def test_a_queue_that_is_away_ends_it_with_that_error() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        backend = cluster.connect_process()
        worker = cluster.app.worker(cluster.settings, backend=backend, clock=cluster.clock, dice=cluster.dice)

        async def away() -> int:
            raise QueueUnavailable("no broker", queue="test")

        backend.jobs.measure_lag = away  # type: ignore[method-assign]
        with pytest.raises(QueueUnavailable, match="no broker"):
            await work_within(worker, backend.jobs, cluster.clock, WorkBounds(idle_seconds=5.0))
        (record,) = await cluster.backend.workers.list_workers(0.0)
        assert record.state == "stopped"

    play(ECHO, story, workers=0)


@pytest.mark.parametrize(
    ("bounds", "are_set"),
    [(WorkBounds(), False), (WorkBounds(max_jobs=1), True), (WorkBounds(max_seconds=1.0), True)],
)
def test_bounds_know_whether_there_are_any(bounds: WorkBounds, are_set: bool) -> None:
    assert bounds.are_set is are_set
