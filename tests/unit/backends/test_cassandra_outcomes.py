"""What the state store makes of requests that were not answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from flowcraft_dagster.backends.cassandra.buckets import BucketDirectory
from flowcraft_dagster.backends.cassandra.grouping import WriteGroup
from flowcraft_dagster.backends.cassandra.listings import RunListings
from flowcraft_dagster.backends.cassandra.session import Answer, CassandraSession, Unanswered
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.cassandra.state import CassandraStateStore
from flowcraft_dagster.backends.cassandra.statements import HEAD_COLUMNS
from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.ports.records import Commit, CommitOutcome, Row, RunHeader, Signal

T = TypeVar("T")
COMMIT = Commit("run-1", "mine", 1, 4, 1, "w", (Row("end/a", 5, b"{}"),), "running", 1.0)
HEADER = RunHeader("run-1", "bp", "a" * 64, "b" * 64, "running", 0, None, 0, 1.0, 1.0)

Step = Callable[[], Answer]


def _fail() -> Answer:
    raise Unanswered("no answer")


def _apply() -> Answer:
    return [(True,)], None


def _refuse() -> Answer:
    return [(False,)], None


class ScriptedSession(CassandraSession):
    """A session whose conditional statements follow a script; reads show what is stored."""

    def __init__(self, steps: Sequence[Step], head: dict[str, Any] | None) -> None:
        super().__init__(CassandraSettings(give_up_seconds=0.3), random.Random(1))
        self.steps = list(steps)
        self.head = head
        self.sent: list[str] = []

    async def bind(self, name: str, parameters: Sequence[Any]) -> Any:
        return name

    async def attempt(self, bound: Any, paging_state: bytes | None = None) -> Answer:
        self.sent.append(bound)
        return (self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])()

    async def read(self, name: str, *parameters: Any, serial: bool = False) -> list[tuple[Any, ...]]:
        if name == "read_signal":
            return [(b"theirs", "running")]
        assert serial, "an unknown outcome was looked up without the serial level"
        if self.head is None:
            return []
        return [("run-1", *(self.head.get(column) for column in HEAD_COLUMNS))]

    async def write(self, name: str, *parameters: Any) -> None:
        self.sent.append(name)

    async def write_together(self, parts: Sequence[Any]) -> None:
        self.sent.append(parts[0][0])


def _head(**fields: Any) -> dict[str, Any]:
    return {"status": "running", "epoch": 1, "run_seq": 4, "commit_id": "older", "started_at": 1.0, **fields}


def _listings(session: ScriptedSession) -> RunListings:
    return RunListings(session, BucketDirectory(session))


def _store(session: ScriptedSession) -> CassandraStateStore:
    return CassandraStateStore(session, _listings(session))


@pytest.mark.parametrize(
    ("steps", "head", "outcome", "sent"),
    [
        ([_apply], _head(), CommitOutcome.APPLIED, 1),
        ([_fail], _head(run_seq=5, commit_id="mine"), CommitOutcome.APPLIED, 1),
        ([_fail, _apply], _head(), CommitOutcome.APPLIED, 2),
        ([_fail, _fail, _apply], _head(), CommitOutcome.APPLIED, 3),
        ([_fail], _head(epoch=2), CommitOutcome.STALE, 1),
        ([_fail], _head(run_seq=5), CommitOutcome.STALE, 1),
        ([_fail], _head(status="failed", run_seq=5), CommitOutcome.FINISHED, 1),
        ([_fail], None, CommitOutcome.MISSING, 1),
        ([_refuse], _head(run_seq=5, commit_id="mine"), CommitOutcome.APPLIED, 1),
        ([_refuse], _head(), CommitOutcome.STALE, 1),
        ([_refuse], _head(status="completed"), CommitOutcome.FINISHED, 1),
    ],
)
def test_an_unanswered_commit_is_looked_up_and_repeated(
    steps: list[Step], head: dict[str, Any] | None, outcome: CommitOutcome, sent: int
) -> None:
    session = ScriptedSession(steps, head)
    assert asyncio.run(_store(session).commit(COMMIT)) is outcome
    assert session.sent == ["commit_row"] * sent


def test_a_server_that_stays_silent_is_away() -> None:
    session = ScriptedSession([_fail], _head())
    with pytest.raises(StoreUnavailable, match="commit: no answer"):
        asyncio.run(_store(session).commit(COMMIT))
    assert len(session.sent) > 2


@pytest.mark.parametrize(
    ("stored", "is_mine"),
    [
        ({"blueprint_id": "bp", "blueprint_hash": "a" * 64, "input_hash": "b" * 64}, True),
        ({"blueprint_id": "bp", "blueprint_hash": "a" * 64, "input_hash": "c" * 64}, False),
    ],
)
def test_an_unanswered_start_is_looked_up(stored: dict[str, Any], is_mine: bool) -> None:
    session = ScriptedSession([_fail], _head(epoch=0, run_seq=0, updated_at=1.0, **stored))
    there = asyncio.run(_store(session).create_run(HEADER, b"{}"))
    assert (there is None) == is_mine


def test_an_unanswered_signal_is_looked_up() -> None:
    session = ScriptedSession([_fail], _head())
    store = _store(session)
    assert asyncio.run(store.add_signal("run-1", Signal("cancel", b"theirs"))) is None
    assert asyncio.run(store.add_signal("run-1", Signal("cancel", b"mine"))) == Signal("cancel", b"theirs")


def test_a_missing_status_row_does_not_undo_a_start() -> None:
    class Deaf(ScriptedSession):
        async def write_together(self, parts: Sequence[Any]) -> None:
            if parts[0][0] == "write_status":
                raise StoreUnavailable("no answer", store="cassandra")

    assert asyncio.run(_store(Deaf([_apply], None)).create_run(HEADER, b"{}")) is None


def test_a_run_that_cannot_be_listed_is_not_stored() -> None:
    class Deaf(ScriptedSession):
        async def write_together(self, parts: Sequence[Any]) -> None:
            raise StoreUnavailable("no answer", store="cassandra")

    session = Deaf([_apply], None)
    with pytest.raises(StoreUnavailable):
        asyncio.run(_store(session).create_run(HEADER, b"{}"))
    assert "create_run" not in session.sent


def test_an_end_that_is_not_listed_yet_stays_among_the_live_runs() -> None:
    class Deaf(ScriptedSession):
        async def write_together(self, parts: Sequence[Any]) -> None:
            names = [name for name, _ in parts]
            if "list_finished" in names:
                raise StoreUnavailable("no answer", store="cassandra")
            self.sent.extend(names)

    session = Deaf([_apply], None)
    ended = replace(HEADER, status="completed", finished_at=2.0)
    with pytest.raises(StoreUnavailable):
        asyncio.run(_listings(session).publish_end(ended, 2.0))
    assert "unlist_live" not in session.sent


def test_small_writes_of_one_moment_go_together() -> None:
    session = ScriptedSession([_apply], None)
    batches: list[int] = []

    async def note(parts: Sequence[Any]) -> None:
        batches.append(len(parts))

    async def drive() -> None:
        session.write_together = note  # type: ignore[method-assign]
        group = WriteGroup(session, most=10)
        await asyncio.gather(*(group.write([("list_live", (place,))]) for place in range(25)))
        await group.write([("list_live", (25,))])

    asyncio.run(drive())
    assert batches == [10, 10, 5, 1]


def test_large_writes_do_not_make_batches_that_servers_refuse() -> None:
    session = ScriptedSession([_apply], None)
    batches: list[list[int]] = []

    async def note(parts: Sequence[Any]) -> None:
        batches.append([len(values[0]) for _, values in parts])

    async def drive() -> None:
        session.write_together = note  # type: ignore[method-assign]
        group = WriteGroup(session, most=4)
        sizes = [100, 3000, 2000, 1500, 40_000, 100, 100]
        await asyncio.gather(*(group.write([("a", ("x" * size,)), ("b", ("x",))]) for size in sizes))

    asyncio.run(drive())
    # One by one, since no other way is left; and the order within an entry is kept.
    assert sorted(batches) == sorted([[100, 1, 3000, 1], [2000, 1, 1500, 1], [40_000], [1], [100, 1, 100, 1]])
    assert batches.index([40_000]) < batches.index([1])


@pytest.mark.parametrize(
    ("error", "objects"), [(StoreUnavailable("no answer", store="cassandra"), 5), (ValueError("no such value"), 1)]
)
def test_all_learn_that_a_batch_failed(error: Exception, objects: int) -> None:
    class Deaf(ScriptedSession):
        async def write_together(self, parts: Sequence[Any]) -> None:
            raise error

    async def drive() -> list[Any]:
        group = WriteGroup(Deaf([_apply], None), most=2)
        return await asyncio.gather(
            *(group.write([("list_live", (place,))]) for place in range(5)), return_exceptions=True
        )

    failures = asyncio.run(drive())
    assert [(type(failure), str(failure)) for failure in failures] == [(type(error), str(error))] * 5
    assert len({id(failure) for failure in failures}) == objects


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, result: Any = None) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)

    async def call() -> Awaitable[None]:
        raise Unanswered("no answer")

    async def drive() -> None:
        session = CassandraSession(CassandraSettings(), random.Random(1))
        calls = 0

        async def count() -> None:
            nonlocal calls
            calls += 1
            if calls < 9:
                await call()

        await session.insist("x", count)

    asyncio.run(drive())
    assert len(pauses) == 8
    assert 0.01 <= pauses[0] <= 0.03
    assert pauses[4] > pauses[0] * 3
    assert max(pauses) <= 1.5
