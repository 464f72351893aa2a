from __future__ import annotations

import asyncio
from typing import cast

import pytest

from flowcraft_dagster.testing.conformance.killing import CASES_A_KILL, Killer
from flowcraft_dagster.testing.fleet import WorkerFleet


class FleetWithoutProcesses:
    def __init__(self) -> None:
        self.pids = {"0": 100, "1": 101}
        self.killed = 0
        self.victims: list[str] = []

    async def wait_ready(self) -> None:
        await asyncio.sleep(0)

    def kill(self, slot: str) -> None:
        self.killed += 1
        self.victims.append(slot)


def _make(seed: int = 0) -> tuple[FleetWithoutProcesses, Killer]:
    fleet = FleetWithoutProcesses()
    return fleet, Killer(cast("WorkerFleet", fleet), 0.002, lambda pid: pid == 100, seed)


@pytest.mark.parametrize("count", [1, 19, 20, 21, 40, 61])
async def test_there_is_a_kill_for_every_twenty_cases(count: int) -> None:
    fleet, killer = _make()
    killing = asyncio.ensure_future(killer.run())
    for number in range(count):
        await asyncio.wait_for(killer.admit(number, count), 10)
        assert fleet.killed >= number // CASES_A_KILL
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    assert fleet.killed >= -(-count // CASES_A_KILL)


async def test_the_last_of_twenty_cases_waits_for_its_kill() -> None:
    _, killer = _make()
    for number in range(CASES_A_KILL - 1):
        await asyncio.wait_for(killer.admit(number, 100), 10)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(killer.admit(CASES_A_KILL - 1, 100), 0.05)


async def test_victims_are_random_and_the_same_for_a_seed() -> None:
    chosen = []
    for _ in range(2):
        fleet, killer = _make(seed=7)
        killing = asyncio.ensure_future(killer.run())
        # The 240th case is let in once there were twelve kills.
        await asyncio.wait_for(killer.admit(12 * CASES_A_KILL - 1, 1000), 10)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        chosen.append(fleet.victims[:12])
        assert killer.at_work == fleet.victims.count("0")
    assert chosen[0] == chosen[1]
    assert set(chosen[0]) == {"0", "1"}
