"""Whose turn it is to run alone in a process."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from flowcraft_dagster.engine.execute import execute
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.engine.outcome import Outcome
from flowcraft_dagster.runtime import worker as worker_module
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.isolation_places import LONG_SECONDS, IsolationPlaces
from flowcraft_dagster.testing.simulation import SimulatedClock, SimulatedCluster, run_simulated
from tests.unit.runtime.stage import flow, make_app, node, play


class Crowd:
    """Suspects that take a place for a while, and when each began."""

    def __init__(self, clock: SimulatedClock, limit: int, most: int) -> None:
        self.clock = clock
        self.places = IsolationPlaces(limit, most, clock)
        self.began: dict[str, float] = {}
        self.present = self.largest = 0

    async def visit(self, name: str, seconds: float) -> None:
        """``run/number``: hold a place for so long."""
        async with self.places.take(name.partition("/")[0]):
            self.began[name] = self.clock.monotonic()
            self.present += 1
            self.largest = max(self.largest, self.present)
            await self.clock.sleep(seconds)
            self.present -= 1


def _gather(limit: int, most: int, visits: dict[str, float]) -> Crowd:
    async def main(clock: SimulatedClock, dice: random.Random) -> Crowd:
        crowd = Crowd(clock, limit, most)
        await asyncio.gather(*(crowd.visit(name, seconds) for name, seconds in visits.items()))
        assert not crowd.places.is_anybody_waiting
        return crowd

    return run_simulated(main, in_order=True)


def test_only_so_many_begin_side_by_side() -> None:
    crowd = _gather(3, 30, {f"run/{number}": 1.0 for number in range(9)})
    assert crowd.largest == 3
    assert sorted(crowd.began.values()) == [0.0] * 3 + [1.0] * 3 + [2.0] * 3


def test_long_ones_hold_up_nobody_for_long() -> None:
    visits = {f"long-{number}/0": 3600.0 for number in range(6)} | {"short/0": 1.0}
    crowd = _gather(2, 30, visits)
    assert crowd.began["short/0"] == 3 * LONG_SECONDS
    assert crowd.largest == 7


def test_there_are_never_too_many() -> None:
    crowd = _gather(2, 5, {f"run-{number}/0": 100.0 for number in range(12)})
    assert crowd.largest == 5
    assert max(crowd.began.values()) == 200


def test_runs_take_turns() -> None:
    visits = {f"large/{number}": 5.0 for number in range(20)} | {"small/0": 5.0}
    crowd = _gather(2, 2, visits)
    # Two of the large run began before the small one was there, and it was next.
    assert crowd.began["small/0"] == 5.0


def test_who_is_cancelled_gives_its_place_back() -> None:
    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        crowd = Crowd(clock, 1, 1)
        tasks = [asyncio.ensure_future(crowd.visit(f"run/{number}", 50.0)) for number in range(4)]
        await clock.sleep(1)
        # One that waits, the one that runs (old or young), and one whose turn has just come.
        tasks[1].cancel()
        tasks[0].cancel()
        await clock.sleep(dice.choice([0, 1, 20]))
        tasks[2].cancel()
        await tasks[3]
        assert not crowd.places.is_anybody_waiting
        await crowd.visit("run/last", 1.0)
        assert (crowd.places._young, crowd.places._held.total()) == (0, 0)

    for seed in range(30):
        run_simulated(main, seed)



def test_suspects_leave_the_slots_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    isolated: list[str] = []

    class SlowIsolator:
        def __init__(self, *_: Any) -> None:
            self.workshop: Any = None

        async def run(self, execution: Execution) -> Outcome:
            isolated.append(execution.activation.key)
            await asyncio.sleep(500)
            return await execute(execution, workshop[0])

        async def close(self) -> None: ...

    workshop: list[Any] = []
    monkeypatch.setattr(worker_module, "Isolator", SlowIsolator)

    async def labour(ctx: NodeContext) -> str:
        await asyncio.sleep(30)
        return "done"

    app = make_app(
        flow(node("a", "const", value=1), *(node(f"n{n}", "labour") for n in range(3)), edges="a>n0 a>n1 a>n2"),
        flow(node("a", "const", value=1), name="quick"),
        labour=labour,
    )
    app.location = "some:app"

    async def story(cluster: SimulatedCluster) -> None:
        await cluster.client.start(StartRequest("main", {}, "run"))
        await cluster.clock.sleep(5)
        cluster.processes[0].kill()
        while len(isolated) < 2:
            await cluster.clock.sleep(1)
        workshop.append(cluster.processes[0].worker._services.workshop)
        await cluster.client.start(StartRequest("quick", {}, "other"))
        assert (await cluster.client.wait("other", 10)).status == "completed"
        assert (await cluster.client.wait("run", 2000)).status == "completed"

    play(app, story, concurrency=2)
