"""What a worker says of an outage: enough, and not more; it pauses everything and fills no log."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from flowcraft_dagster.errors import QueueUnavailable, StoreUnavailable
from flowcraft_dagster.runtime.availability import Availability
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.simulation import SimulatedClock, run_simulated

CALLS = 128
"""A worker holds so many runs."""


class Store:
    """Does not answer while it is away."""

    def __init__(self) -> None:
        self.is_away = True
        self.asked = 0

    async def answer(self) -> str:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("no answer", store="test")
        return "here"


def test_an_outage_that_many_runs_meet_is_told_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        store, patience = Store(), Patience(clock, dice, 0.05, 5.0)
        calls = [asyncio.ensure_future(patience.insist("load run", store.answer)) for _ in range(CALLS)]
        await clock.sleep(600)
        assert patience.trouble is not None
        store.is_away = False
        assert await asyncio.gather(*calls) == ["here"] * CALLS
        assert patience.trouble is None
        assert store.asked > CALLS * 100

    run_simulated(main)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("load run failed 1 time(s), trying again: ")
    assert lines[-1].startswith("load run: no more trouble after ")
    assert len(lines) < 20


def test_the_next_outage_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def main(clock: SimulatedClock, dice: random.Random) -> None:
        store, patience = Store(), Patience(clock, dice, 0.05, 5.0)
        for _ in range(2):
            store.is_away = True
            calls = [asyncio.ensure_future(patience.insist("commit", store.answer)) for _ in range(3)]
            await clock.sleep(60)
            # Whoever is cancelled keeps nothing open.
            calls[0].cancel()
            store.is_away = False
            await asyncio.gather(*calls, return_exceptions=True)

    run_simulated(main)
    firsts = [record for record in caplog.records if "commit failed 1 time(s)" in record.getMessage()]
    assert len(firsts) == 2


class TellingClock(SystemClock):
    """The time of day is what a test says; sleeping takes its time."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


class Servers:
    """A store and a queue, each of which may be away."""

    def __init__(self) -> None:
        self.away = {"store", "queue"}
        self.refused = asyncio.Event()

    async def store(self) -> str:
        if "store" in self.away:
            self.refused.set()
            raise StoreUnavailable("gone", store="one")
        return "stored"

    async def queue(self) -> str:
        if "queue" in self.away:
            self.refused.set()
            raise QueueUnavailable("gone", queue="one")
        return "sent"


async def test_trouble_ends_with_the_call_that_had_it() -> None:
    servers, patience = Servers(), Patience(SystemClock(), random.Random(1), 0.01, 0.01)
    storing = asyncio.ensure_future(patience.insist("commit", servers.store))
    await asyncio.wait_for(servers.refused.wait(), 10)
    assert patience.trouble == "commit: state store one is away: gone"
    # Its run goes to another worker, while the store is still away.
    storing.cancel()
    await asyncio.wait({storing})
    assert patience.trouble is None


async def test_an_outage_is_known_no_longer_than_somebody_asks() -> None:
    clock = TellingClock()
    availability = Availability(clock, 1e9)
    servers, patience = Servers(), Patience(clock, random.Random(1), 0.01, 0.01, availability)
    clock.time = 110.0
    asking = [asyncio.ensure_future(patience.insist("isolate", servers.store, "processes")) for _ in range(2)]
    await asyncio.wait_for(servers.refused.wait(), 10)
    await asyncio.sleep(0)
    for task, until in zip(asking, (120.0, 130.0), strict=True):
        # The first one gives up while the other still asks.
        clock.time = until
        assert availability.list_outages() == [(100.0, until)]
        task.cancel()
        await asyncio.wait({task})
    clock.time = 1000.0
    assert availability.list_outages() == [(100.0, 130.0)]
    # Asked again it is away still, and nobody knows of an answer in between.
    availability.note_failure("processes")
    assert availability.list_outages() == [(100.0, 1000.0)]


async def test_one_server_that_is_back_does_not_hide_that_another_is_away() -> None:
    servers, patience = Servers(), Patience(SystemClock(), random.Random(1), 0.01, 60.0)
    sending = asyncio.ensure_future(patience.insist("send", servers.queue, "queue"))
    await asyncio.wait_for(servers.refused.wait(), 10)
    assert "send" in (patience.trouble or "")
    servers.refused.clear()
    storing = asyncio.ensure_future(patience.insist("commit", servers.store))
    await asyncio.wait_for(servers.refused.wait(), 10)
    servers.away = {"queue"}
    assert await asyncio.wait_for(storing, 10) == "stored"
    assert "send" in (patience.trouble or "")
    servers.away = set()
    assert await asyncio.wait_for(sending, 60) == "sent"
    assert patience.trouble is None
