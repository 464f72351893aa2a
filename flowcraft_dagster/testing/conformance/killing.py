"""Killing workers at random moments, and holding cases back so that there are enough kills among them.

Cases take milliseconds and kills come seconds apart. So cases begin one by one, twenty of them spread over the time
until the next kill, and the last of every twenty waits for that kill.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable

from flowcraft_dagster.testing.fleet import WorkerFleet

CASES_A_KILL = 20
"""At the most: one kill or more for so many cases."""


class Killer:
    """Kills a random worker again and again.

    Args:
        fleet: the workers.
        interval: mean seconds between kills; each pause is between half and one and a half of it.
        is_at_work: whether the worker with a process id runs a node now.
        seed: of the random moments and victims.

    Attributes:
        at_work: how many victims ran a node.
    """

    def __init__(self, fleet: WorkerFleet, interval: float, is_at_work: Callable[[int], bool], seed: int) -> None:
        self._fleet = fleet
        self._interval = interval
        self._is_at_work = is_at_work
        self._dice = random.Random(seed)  # noqa: S311 - a test's dice, not a secret
        self._killed = asyncio.Condition()
        self._due: float | None = None
        self.at_work = 0

    async def run(self) -> None:
        """Kill until cancelled.

        A pause begins when all workers are there: on a busy machine they would otherwise die before they did anything.
        """
        while True:
            await self._fleet.wait_ready()
            pause = self._interval * self._dice.uniform(0.5, 1.5)
            self._due = time.monotonic() + pause
            await asyncio.sleep(pause)
            self._due = None
            pids = self._fleet.pids
            if not pids:
                continue
            slot = self._dice.choice(sorted(pids))
            self.at_work += self._is_at_work(pids[slot])
            self._fleet.kill(slot)
            async with self._killed:
                self._killed.notify_all()

    async def admit(self, number: int, count: int) -> None:
        """Return when case ``number`` (from 0) of ``count`` may begin."""
        left = CASES_A_KILL - number % CASES_A_KILL
        due = self._due
        await asyncio.sleep(self._interval / CASES_A_KILL if due is None else max(0.0, due - time.monotonic()) / left)
        is_last = left == 1 or number + 1 == count
        needed = math.ceil((number + 1) / CASES_A_KILL) - (0 if is_last else 1)
        async with self._killed:
            await self._killed.wait_for(lambda: self._fleet.killed >= needed)
