"""Parts of the embedded backend, each by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.connection import BulkInsert
from flowcraft_dagster.backends.embedded.group import GroupChange
from flowcraft_dagster.backends.embedded.index import list_from
from flowcraft_dagster.backends.embedded.locks import LockFile, Turnstile
from flowcraft_dagster.backends.embedded.presence import Presence
from flowcraft_dagster.backends.embedded.state import LONG_RUN
from flowcraft_dagster.backends.embedded.writer import WriteKind
from flowcraft_dagster.ports.records import AWAITING, COMPLETED, CommitOutcome, RunQuery
from flowcraft_dagster.testing.contracts.samples import new_run, next_commit
from tests.unit.stepped_clock import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def backend(tmp_path: Path, clock: SteppedClock) -> AsyncIterator[EmbeddedBackend]:
    opened = EmbeddedBackend(tmp_path / "home", clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.parametrize("count", [0, 1, 3, 15, 16, 17, 63, 64, 65, 200])
def test_a_bulk_insert_writes_every_row_once(count: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        BulkInsert("INSERT INTO t", 2).run(connection, [(place, f"b{place}") for place in range(count)])
        assert connection.execute("SELECT * FROM t").fetchall() == [(place, f"b{place}") for place in range(count)]


async def test_writes_asked_for_together_share_a_transaction(backend: EmbeddedBackend) -> None:
    groups: list[int] = []

    def note(connection: sqlite3.Connection, arguments: Sequence[int]) -> list[int]:
        groups.append(len(arguments))
        return list(arguments)

    kind = WriteKind(0, note)
    answers = await asyncio.gather(*(backend.session.write(kind, place) for place in range(100)))
    assert answers == list(range(100))
    assert groups == [100]


async def test_a_failing_write_spoils_no_other(backend: EmbeddedBackend) -> None:
    def insert(connection: sqlite3.Connection, names: Sequence[str]) -> list[None]:
        for name in names:
            connection.execute("INSERT INTO meta VALUES (?, 'x')", (name,))
        return [None] * len(names)

    kind = WriteKind(0, insert)
    names = ["one", "format", "two", "version", "three"]
    answers = await asyncio.gather(*(backend.session.write(kind, name) for name in names), return_exceptions=True)
    assert [isinstance(answer, sqlite3.IntegrityError) for answer in answers] == [False, True, False, True, False]
    rows = backend.session.reader.read("SELECT name FROM meta WHERE value = 'x' ORDER BY name")
    assert rows == [("one",), ("three",), ("two",)]


async def test_a_cancelled_caller_disturbs_nobody(backend: EmbeddedBackend) -> None:
    header = await new_run(backend.state)
    writing = [asyncio.ensure_future(backend.state.commit(next_commit(header, f"end/{place}"))) for place in range(3)]
    await asyncio.sleep(0)
    writing[0].cancel()
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    again = await backend.state.load_run(header.run_id)
    assert again is not None
    assert again.header.seq == 1


def test_the_turnstile_lets_nobody_in_twice_while_others_wait(tmp_path: Path) -> None:
    turns: list[str] = []
    inside = threading.Lock()
    start = threading.Barrier(2)

    def work(name: str) -> None:
        turnstile = Turnstile(tmp_path)
        start.wait()
        for _ in range(60):
            turnstile.enter()
            assert inside.acquire(blocking=False), "two are inside"
            turns.append(name)
            time.sleep(0.002)  # long enough for the other one to stand in line
            inside.release()
            turnstile.leave()
        turnstile.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contested = turns[:60]
    repeats = sum(one == other for one, other in pairwise(contested))
    assert repeats < 15, "".join(contested)


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    held, observer = LockFile(tmp_path / "a.lock"), LockFile(tmp_path / "a.lock")
    assert observer.is_free()
    assert held.try_acquire()
    assert not observer.is_free()
    assert not observer.try_acquire()
    held.close()
    assert observer.is_free()
    observer.close()


def test_presence_tells_the_living_from_the_silent(tmp_path: Path) -> None:
    mine = Presence(tmp_path, beat_seconds=0.02, stale_seconds=0.5)
    seen = Presence(tmp_path, beat_seconds=0.02, stale_seconds=0.5)
    assert seen.is_silent("a"), "who left no trace is not there"
    assert not seen.has_ended("a"), "nothing is known of it"
    mine.hold("a")
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        assert not seen.is_silent("a"), "it beats"
        time.sleep(0.02)
    mine.leave("a", forget=False)
    assert seen.is_silent("a")
    assert seen.has_ended("a")
    mine.hold("b")
    mine.close()
    assert seen.has_ended("b")
    seen.close()


def test_presence_knows_a_frozen_one_by_its_silence(tmp_path: Path) -> None:
    frozen = Presence(tmp_path, beat_seconds=3600.0)
    seen = Presence(tmp_path, stale_seconds=0.2)
    frozen.hold("a")
    assert not seen.is_silent("a")
    end = time.monotonic() + 10.0
    while not seen.is_silent("a"):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not seen.has_ended("a"), "its process still holds the lock"
    frozen.close()
    seen.close()


async def test_expired_leases_leave_nothing_behind(backend: EmbeddedBackend, clock: SteppedClock) -> None:
    for place in range(50):
        assert await backend.coordination.acquire_lease(f"note-{place}", "reconciler", 10.0)
    clock.time += 11
    assert await backend.coordination.acquire_lease("one-more", "reconciler", 10.0)
    assert backend.session.reader.read("SELECT name FROM leases") == [("one-more",)]


async def test_a_dead_owners_lease_ends_in_time_though_the_clock_goes_back(
    backend: EmbeddedBackend, clock: SteppedClock
) -> None:
    clock.time += 7200
    assert await backend.coordination.acquire_lease("timers", "killed", 5.0)
    clock.time -= 3600
    assert await backend.coordination.acquire_lease("timers", "next", 5.0)
    assert not await backend.coordination.acquire_lease("timers", "third", 5.0), "this one is of the clock as it is"
    clock.time += 6
    assert await backend.coordination.acquire_lease("timers", "third", 5.0)


async def test_a_clock_that_is_put_right_by_a_moment_takes_no_lease_away(
    backend: EmbeddedBackend, clock: SteppedClock
) -> None:
    assert await backend.coordination.acquire_lease("timers", "owner", 60.0)
    clock.time -= 2
    assert not await backend.coordination.acquire_lease("timers", "other", 60.0)
    assert await backend.coordination.acquire_lease("more", "other", 60.0)
    assert not await backend.coordination.acquire_lease("timers", "other", 60.0)


async def test_a_change_between_two_looks_is_heard(backend: EmbeddedBackend, clock: SteppedClock) -> None:
    elsewhere = EmbeddedBackend(backend.home, clock)
    await elsewhere.open()
    header = await new_run(elsewhere.state)
    waiting = asyncio.ensure_future(backend.coordination.await_run(header.run_id, 10.0))
    await asyncio.sleep(0.04)  # looked at; the change falls into the pause before the next look, and none follows
    await elsewhere.state.commit(next_commit(header, "end/a", status=AWAITING))
    assert await asyncio.wait_for(waiting, 5.0) is True
    await elsewhere.close()


async def test_a_look_at_the_group_amid_a_release_reports_no_loss(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []

    async def on_revoked(partitions: frozenset[int], seconds: float) -> None:
        told.append(seconds)

    first, second = backend.jobs.open_consumer("one", "w1"), backend.jobs.open_consumer("two", "w2")
    await first.start(on_revoked)
    write, released = backend.session.write, asyncio.Event()

    async def write_then_look(kind: WriteKind[Any, Any], argument: Any) -> Any:
        answer = await write(kind, argument)
        if isinstance(argument, GroupChange) and argument.release:
            # The release is stored, and the member has not yet come round to forgetting the partitions.
            await first._regroup()
            released.set()
        return answer

    monkeypatch.setattr(backend.session, "write", write_then_look)
    await second.start(on_revoked)
    await asyncio.wait_for(released.wait(), 10.0)
    await asyncio.sleep(0)
    assert told
    assert all(seconds > 0 for seconds in told), "a hand-over was taken for a loss"
    await first.close()
    await second.close()


async def test_commits_leave_the_index_of_live_runs_alone(backend: EmbeddedBackend) -> None:
    headers = [await new_run(backend.state) for _ in range(3)]
    await backend.state.commit(next_commit(headers[0], "end/a", status=COMPLETED))
    await backend.state.commit(next_commit(headers[1], "end/a"))
    page = await backend.index.scan_live_runs(None, 10)
    assert [header.run_id for header in page.headers] == [headers[1].run_id, headers[2].run_id]
    assert backend.session.reader.read("PRAGMA integrity_check") == [("ok",)]


async def test_finish_numbers_are_never_used_twice(backend: EmbeddedBackend, clock: SteppedClock) -> None:
    first = await new_run(backend.state)
    await backend.state.commit(next_commit(first, "end/a", status=COMPLETED, now=1.0))
    page = await backend.index.scan_finished_runs(None, clock.now(), 10)
    await backend.state.delete_run(first.run_id)
    second = await new_run(backend.state)
    await backend.state.commit(next_commit(second, "end/a", status=COMPLETED, now=2.0))
    rest = await backend.index.scan_finished_runs(page.cursor, clock.now(), 10)
    assert [header.run_id for header in rest.headers] == [second.run_id]


@pytest.mark.parametrize(
    "query", [RunQuery(), RunQuery(blueprint_id="moderation", since=1.0), RunQuery(with_children=True)]
)
async def test_listings_read_no_table_from_end_to_end(backend: EmbeddedBackend, query: RunQuery) -> None:
    plans = backend.session.reader.ask(lambda connection: _explain_listing(connection, query))
    assert any("heads_live" in plan for plan in plans)
    assert any("finished_by_" in plan for plan in plans)
    scans = [plan for plan in plans if plan.startswith(("SCAN f", "SCAN r", "SCAN h"))]
    assert all("USING INDEX" in plan for plan in scans), scans


async def test_a_run_that_ends_while_runs_are_listed_is_listed_once(backend: EmbeddedBackend) -> None:
    header = await new_run(backend.state)
    loop = asyncio.get_running_loop()

    class Interrupted:
        """A connection on which the run ends after the first statement: the one for live runs."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection
            self._statements = 0

        def execute(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
            self._statements += 1
            if self._statements == 2:
                ending = backend.state.commit(next_commit(header, "end/a", status=COMPLETED))
                asyncio.run_coroutine_threadsafe(ending, loop).result(10.0)
            return self._connection.execute(sql, values)

    def list_runs(connection: sqlite3.Connection) -> list[str]:
        interrupted: Any = Interrupted(connection)
        return [found.status for found in list_from(interrupted, RunQuery())]

    assert await backend.session.reader.ask_apart(list_runs) == ["running"]
    assert [found.status for found in await backend.index.list_runs(RunQuery())] == ["completed"]


async def test_a_run_of_a_clock_that_ran_ahead_hides_none_that_ended_after_it(backend: EmbeddedBackend) -> None:
    async def end(name: str, at: float) -> None:
        header = await new_run(backend.state, run_id=name)
        await backend.state.commit(next_commit(header, "end/a", status=COMPLETED, now=at))

    async def scan(until: float) -> list[str]:
        page = await backend.index.scan_finished_runs(None, until, 10)
        return [header.run_id for header in page.headers]

    await end("before", 1000.0)
    await end("ahead", 1000.0 + 86_400)
    assert await scan(1001.0) == ["before"]
    await end("after", 1010.0)
    await end("overtaken", 1009.0)
    assert await scan(1009.5) == ["before"], "a moment is no sign of a clock that was set back"
    assert await scan(1100.0) == ["before", "ahead", "after", "overtaken"]


async def test_a_run_that_is_forgotten_while_it_is_loaded_is_not_taken_for_one_without_facts(
    backend: EmbeddedBackend,
) -> None:
    header = await new_run(backend.state)
    for place in range(LONG_RUN):
        await backend.state.commit(next_commit(header, f"end/{place}"))
        header = replace(header, seq=header.seq + 1, epoch=1)
    last = next_commit(header, "end/last", status=COMPLETED)
    assert await backend.state.commit(last) is CommitOutcome.APPLIED
    busy = threading.Event()
    other = asyncio.ensure_future(backend.session.reader.ask_apart(lambda _: busy.wait(20.0)))
    await asyncio.sleep(0)
    loading = asyncio.ensure_future(backend.state.load_run(header.run_id))
    await asyncio.sleep(0)  # its header is read, its facts wait for the reading thread
    await backend.state.delete_run(header.run_id)
    busy.set()
    assert await loading is None
    assert await other


def _explain_listing(connection: sqlite3.Connection, query: RunQuery) -> list[str]:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    list_from(connection, query)
    connection.set_trace_callback(None)
    rows = [row for sql in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
    return [str(row[-1]) for row in rows]
