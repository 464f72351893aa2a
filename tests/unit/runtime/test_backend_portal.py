"""A backend behind a portal: opened once for everybody, again after a failure, and closed when it was opened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.runtime.backend_portal import BackendPortal


class Gate:
    """Stands for a backend: it opens when the test lets it, and may refuse to."""

    def __init__(self) -> None:
        self.may_open = threading.Event()
        self.begun = threading.Event()
        self.refusals = 0
        self.opened = 0
        self.closed = 0

    async def open(self) -> None:
        self.begun.set()
        await asyncio.get_running_loop().run_in_executor(None, self.may_open.wait, 10.0)
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("no route to host", store="test")
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def answer(self) -> int:
        return self.opened


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def portal(gate: Gate) -> Iterator[BackendPortal]:
    backend: Any = gate
    made = BackendPortal(backend)
    yield made
    gate.may_open.set()
    made.close()


def test_callers_that_come_together_wait_for_one_opening(gate: Gate, portal: BackendPortal) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(lambda: portal.call(gate.answer())) for _ in range(8)]
        assert gate.begun.wait(10.0)
        gate.may_open.set()

        assert [answer.result(10.0) for answer in answers] == [1] * 8
    assert portal.call(gate.answer()) == 1


def test_a_refusal_reaches_everybody_who_waits_and_the_next_call_tries_again(gate: Gate, portal: BackendPortal) -> None:
    gate.refusals = 1
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(portal.open) for _ in range(4)]
        assert gate.begun.wait(10.0)
        gate.may_open.set()
        errors = [answer.exception(10.0) for answer in answers]

    # Who came after the refusal has opened it.
    assert {type(error) for error in errors} <= {StoreUnavailable, type(None)}
    assert StoreUnavailable in {type(error) for error in errors}
    assert portal.call(gate.answer()) == 1


def test_what_is_closed_is_opened_anew(gate: Gate, portal: BackendPortal) -> None:
    gate.may_open.set()
    portal.open()
    portal.close()
    portal.close()

    assert (gate.opened, gate.closed) == (1, 1)
    assert portal.call(gate.answer()) == 2


def test_closing_waits_for_an_opening_that_is_under_way(gate: Gate, portal: BackendPortal) -> None:
    with ThreadPoolExecutor(2) as pool:
        opening = pool.submit(portal.open)
        assert gate.begun.wait(10.0)
        closing = pool.submit(portal.close)
        gate.may_open.set()
        opening.result(10.0)
        closing.result(10.0)

    assert (gate.opened, gate.closed) == (1, 1)


def test_what_was_never_used_is_not_touched(gate: Gate, portal: BackendPortal) -> None:
    portal.close()

    assert (gate.opened, gate.closed) == (0, 0)


def test_a_look_at_a_closed_backend_opens_nothing(gate: Gate, portal: BackendPortal) -> None:
    assert portal.call_as_it_is(gate.answer()) == 0
