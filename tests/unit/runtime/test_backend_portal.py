"""A backend behind a portal: opened once for everybody, again after a failure, and closed when it was opened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flowcraft_dagster.errors import InfrastructureError, StoreUnavailable
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


LONG, SHORT = 10.0, 0.05


class Question:
    """What a caller asks: it is answered when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.refusals = 0
        self.ended = threading.Event()
        self._is_answered = False
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def answer(self) -> None:
        self._is_answered = True
        if self._waiting is not None:
            loop, event = self._waiting
            loop.call_soon_threadsafe(event.set)

    async def ask(self) -> str:
        self.asked += 1
        event = asyncio.Event()
        self._waiting = asyncio.get_running_loop(), event
        try:
            if not self._is_answered:
                await event.wait()
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailable("no host answers", store="test")
            return f"answer {self.asked}"
        finally:
            self.ended.set()


@pytest.fixture
def open_portal(gate: Gate, portal: BackendPortal) -> BackendPortal:
    gate.may_open.set()
    portal.open()
    return portal


def test_a_caller_in_a_hurry_leaves_and_the_next_one_takes_the_answer_up(open_portal: BackendPortal) -> None:
    question = Question()
    with pytest.raises(InfrastructureError, match=r"the store has not answered within 0\.05 s"):
        open_portal.call_within(SHORT, "the store", 1, question.ask)
    question.answer()

    assert open_portal.call_within(LONG, "the store", 1, question.ask) == "answer 1"
    assert open_portal.call_within(LONG, "the store", 1, question.ask) == "answer 2"


def test_what_was_left_is_no_answer_to_another_question(open_portal: BackendPortal) -> None:
    first, second = Question(), Question()
    with pytest.raises(InfrastructureError):
        open_portal.call_within(SHORT, "the store", 1, first.ask)
    second.answer()

    assert open_portal.call_within(LONG, "the store", 2, second.ask) == "answer 1"
    # Nobody will ask for it any more.
    assert first.ended.wait(LONG)


def test_a_failure_that_nobody_waited_for_is_asked_again_and_says_why(open_portal: BackendPortal) -> None:
    question, silent = Question(), Question()
    question.refusals = 1
    with pytest.raises(InfrastructureError):
        open_portal.call_within(SHORT, "the store", 1, question.ask)
    question.answer()
    assert question.ended.wait(LONG)
    await_idle(open_portal)

    with pytest.raises(StoreUnavailable, match="no host answers"):
        open_portal.call_within(SHORT, "the store", 1, silent.ask)
    silent.answer()
    assert open_portal.call_within(LONG, "the store", 1, question.ask) == "answer 1"


def test_an_opening_that_takes_long_goes_on_for_the_next_one(gate: Gate, portal: BackendPortal) -> None:
    for _ in range(3):
        with pytest.raises(InfrastructureError, match="the state store has not answered"):
            portal.open(SHORT)
    gate.may_open.set()
    portal.open(LONG)

    assert gate.opened == 1


def test_closing_ends_what_was_left(open_portal: BackendPortal) -> None:
    question = Question()
    with pytest.raises(InfrastructureError):
        open_portal.call_within(SHORT, "the store", 1, question.ask)
    open_portal.close()

    assert question.ended.is_set()


def await_idle(portal: BackendPortal) -> None:
    """Give the loop the moment in which an ended call tells who left it."""

    async def turn() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    portal.call(turn())
