"""Announcements that are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flowcraft_dagster.backends.redis.announcer import RUNS_TOGETHER, Announcer


class Wire:
    """Takes messages, each of which is on its way until it is let through."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.gates: list[asyncio.Event] = []
        self.arrived = asyncio.Event()

    async def publish(self, run_ids: Sequence[str]) -> None:
        self.messages.append(list(run_ids))
        gate = asyncio.Event()
        self.gates.append(gate)
        self.arrived.set()
        await gate.wait()

    async def let_through(self) -> None:
        """The oldest message that is on its way arrives; returns when the next one is on its way, if there is one."""
        await self.arrived.wait()
        self.arrived.clear()
        self.gates.pop(0).set()
        for _ in range(5):
            await asyncio.sleep(0)


def test_what_comes_while_a_message_is_on_its_way_leaves_as_one() -> None:
    async def drive() -> None:
        wire = Wire()
        announcer = Announcer(wire.publish)
        first = asyncio.ensure_future(announcer.announce(["run-0"]))
        await wire.arrived.wait()
        others = [asyncio.ensure_future(announcer.announce([f"run-{n}"])) for n in range(1, 100)]
        await asyncio.sleep(0)
        await wire.let_through()
        assert first.done()
        assert not any(other.done() for other in others)
        await wire.let_through()
        await asyncio.gather(*others)
        assert wire.messages == [["run-0"], [f"run-{n}" for n in range(1, 100)]]

    asyncio.run(drive())


def test_a_message_has_an_upper_limit() -> None:
    async def drive() -> None:
        sizes: list[int] = []

        async def publish(run_ids: Sequence[str]) -> None:
            sizes.append(len(run_ids))

        await Announcer(publish).announce([str(n) for n in range(2 * RUNS_TOGETHER + 1)])
        assert sizes == [RUNS_TOGETHER, RUNS_TOGETHER, 1]

    asyncio.run(drive())


def test_one_that_gave_up_waiting_holds_up_nobody() -> None:
    async def drive() -> None:
        wire = Wire()
        announcer = Announcer(wire.publish)
        gone = asyncio.ensure_future(announcer.announce(["a"]))
        await wire.arrived.wait()
        gone.cancel()
        waiting = asyncio.ensure_future(announcer.announce(["b"]))
        await asyncio.sleep(0)
        await wire.let_through()
        await wire.let_through()
        await waiting
        assert wire.messages == [["a"], ["b"]]

    asyncio.run(drive())


def test_closing_lets_everybody_go() -> None:
    async def drive() -> None:
        wire = Wire()
        announcer = Announcer(wire.publish)
        await announcer.close()
        waiting = [asyncio.ensure_future(announcer.announce([name])) for name in "ab"]
        await wire.arrived.wait()
        later = asyncio.ensure_future(announcer.announce(["c"]))
        await asyncio.sleep(0)
        await announcer.close()
        await asyncio.gather(*waiting, later)
        assert wire.messages == [["a", "b"]]

    asyncio.run(drive())


def test_closing_at_once_lets_everybody_go() -> None:
    async def drive() -> None:
        wire = Wire()
        announcer = Announcer(wire.publish)
        waiting = asyncio.ensure_future(announcer.announce(["a"]))
        await asyncio.sleep(0)
        assert wire.messages == [], "this is about what has not begun yet"
        await announcer.close()
        await asyncio.wait_for(waiting, 10)
        later = asyncio.ensure_future(announcer.announce(["b"]))
        await wire.let_through()
        await asyncio.wait_for(later, 10)
        assert wire.messages == [["b"]], "what was given up is not sent later"

    asyncio.run(drive())


def test_what_was_given_up_is_not_sent_later() -> None:
    async def drive() -> None:
        wire = Wire()
        announcer = Announcer(wire.publish)
        waiting = [asyncio.ensure_future(announcer.announce(["a"]))]
        await wire.arrived.wait()
        waiting.append(asyncio.ensure_future(announcer.announce(["b"])))
        await asyncio.sleep(0)
        await announcer.close()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        later = asyncio.ensure_future(announcer.announce(["c"]))
        for _ in range(5):
            await asyncio.sleep(0)
        wire.gates[-1].set()
        await asyncio.wait_for(later, 10)
        assert wire.messages == [["a"], ["c"]]

    asyncio.run(drive())
