"""What every index of runs must do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from flowcraft_dagster.errors import UnknownCursor
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import (
    AWAITING,
    COMPLETED,
    FAILED,
    RUNNING,
    CommitOutcome,
    ParentLink,
    RunHeader,
    RunQuery,
    Timer,
)
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.samples import load, new_id, new_run, next_commit


class RunIndexContract(BackendContract):
    """Listings, scans, timers and death counts.

    Attributes:
        late_seconds: how far behind the present a reader of finished runs must stay to miss none; 0 where ends are
            numbered.
    """

    late_seconds: float = 0.0

    @on_backend
    async def test_runs_are_listed_by_their_properties(self, backend: Backend) -> None:
        name = new_id("blueprint")
        start = time.time()
        first = await new_run(backend.state, blueprint_id=name, updated_at=start - 30)
        second = await new_run(backend.state, blueprint_id=name, updated_at=start - 20)
        child = await new_run(
            backend.state, blueprint_id=name, updated_at=start - 10, parent=ParentLink(second.run_id, "sub", 1)
        )
        await new_run(backend.state, blueprint_id=new_id("blueprint"))
        ended = await self._commit(backend, first, COMPLETED)
        for query, expected in (
            (RunQuery(blueprint_id=name), [ended, second]),
            (RunQuery(blueprint_id=name, with_children=True), [ended, child, second]),
            (RunQuery(blueprint_id=name, limit=1), [ended]),
            (RunQuery(blueprint_id=name, statuses=frozenset({RUNNING})), [second]),
            (RunQuery(blueprint_id=name, statuses=frozenset({COMPLETED, FAILED})), [ended]),
            (RunQuery(blueprint_id=name, statuses=frozenset({FAILED})), []),
            (RunQuery(blueprint_id=name, since=start - 15, with_children=True), [ended, child]),
        ):

            async def is_listed(query: RunQuery = query, expected: list[RunHeader] = expected) -> bool:
                return _ids(await backend.index.list_runs(query)) == _ids(expected)

            await self.eventually(is_listed, f"{query} lists {_ids(expected)}")

    @on_backend
    async def test_a_listing_shows_present_headers(self, backend: Backend) -> None:
        name = new_id("blueprint")
        header = await new_run(backend.state, blueprint_id=name, tags={"a": "b"})
        after = await self._commit(backend, header, AWAITING)

        async def is_shown() -> bool:
            listed = await backend.index.list_runs(RunQuery(blueprint_id=name))
            return [(x.status, x.seq, dict(x.tags)) for x in listed] == [(AWAITING, after.seq, {"a": "b"})]

        await self.eventually(is_shown, "the listing shows the last commit")

    @on_backend
    async def test_live_runs_are_scanned_page_by_page(self, backend: Backend) -> None:
        headers = [await new_run(backend.state) for _ in range(7)]
        child = await new_run(backend.state, parent=ParentLink(headers[0].run_id, "sub", 1))
        await self._commit(backend, headers[1], AWAITING)
        await self._commit(backend, headers[2], COMPLETED)
        expected = sorted(_ids([*headers[:2], *headers[3:], child]))

        async def is_complete() -> bool:
            found = await self._scan_live(backend, set(_ids([*headers, child])))
            assert len(found) == len(set(found)), "a run was scanned twice"
            return sorted(found) == expected

        await self.eventually(is_complete, f"the scan finds {expected}")

    @on_backend
    async def test_finished_runs_are_scanned_once_each(self, backend: Backend) -> None:
        cursor = await self._skip_finished(backend)
        ended: list[str] = []
        found: list[str] = []
        for count in (5, 0, 4):
            for _ in range(count):
                header = await new_run(backend.state)
                ended.append((await self._commit(backend, header, COMPLETED)).run_id)
            for _ in range(50):
                page = await backend.index.scan_finished_runs(cursor, time.time() - self.late_seconds, 2)
                assert page.cursor is not None, "the last page must leave a place to go on from"
                cursor = page.cursor
                found += _ids(page.headers)
                if len(found) >= len(ended):
                    break
                if not page.headers:
                    await asyncio.sleep(max(0.02, self.late_seconds / 4))
            assert found == ended

    @on_backend
    async def test_runs_that_end_while_they_are_scanned_are_seen_once_each(self, backend: Backend) -> None:
        cursor = await self._skip_finished(backend)
        headers = [await new_run(backend.state) for _ in range(60)]

        async def end_some(mine: list[RunHeader]) -> None:
            for header in mine:
                await self._commit(backend, header, COMPLETED)
                await asyncio.sleep(0)

        ending = asyncio.gather(*(end_some(headers[place::6]) for place in range(6)))
        found: list[str] = []
        end = time.time() + self.patience
        while len(found) < len(headers) and time.time() < end:
            page = await backend.index.scan_finished_runs(cursor, time.time() - self.late_seconds, 7)
            cursor = page.cursor
            found += _ids(page.headers)
            await asyncio.sleep(0.001)
        await ending
        assert sorted(found) == sorted(_ids(headers))

    @on_backend
    async def test_finished_runs_from_a_moment_on_are_left_for_later(self, backend: Backend) -> None:
        cursor = await self._skip_finished(backend)
        now = time.time()
        old = await self._commit(backend, await new_run(backend.state), COMPLETED, now=now - 1 - self.late_seconds)
        young = await self._commit(backend, await new_run(backend.state), COMPLETED, now=now + 30)
        found, cursor = await self._await_finished(backend, cursor, now - self.late_seconds, 1)
        assert found == [old.run_id]
        page = await backend.index.scan_finished_runs(cursor, now - self.late_seconds, 10)
        assert page.headers == ()
        found, _ = await self._await_finished(backend, page.cursor, now + 60, 1)
        assert found == [young.run_id]

    @on_backend
    async def test_a_cursor_of_something_else_is_refused(self, backend: Backend) -> None:
        for cursor in ("no place", "{}", "[1]", "-1"):
            try:
                page = await backend.index.scan_finished_runs(cursor, time.time(), 10)
            except UnknownCursor:
                continue
            raise AssertionError(f"{cursor} was taken for a place: {page}")

    @on_backend
    async def test_publishing_is_repeated_without_harm(self, backend: Backend) -> None:
        assert await backend.index.read_published(new_id()) is None
        header = await self._commit(backend, await new_run(backend.state), AWAITING)
        for _ in range(3):
            await backend.index.publish(header)
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert (published.run_id, published.status) == (header.run_id, AWAITING)
        ended = await self._commit(backend, header, FAILED, reason="no")
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert (published.status, published.reason, published.is_final) == (FAILED, "no", True)
        assert ended.finished_at is not None
        assert published.finished_at is not None
        assert abs(published.finished_at - ended.finished_at) < 0.01

    @on_backend
    async def test_timers_come_due_in_order(self, backend: Backend) -> None:
        run_id = new_id()
        now = time.time()
        timers = [Timer(now - age, run_id, f"sleep#{age}/1") for age in (1, 3, 2)]
        future = Timer(now + 3600, run_id, "late/1")
        await backend.index.add_timers([*timers, future])
        await backend.index.add_timers(timers[:2])
        assert await self._due(backend, now, run_id) == [timers[1], timers[2], timers[0]]
        assert [t.key for t in await self._due(backend, now - 1.5, run_id)] == ["sleep#3/1", "sleep#2/1"]
        assert await self._due(backend, now + 7200, run_id) == [timers[1], timers[2], timers[0], future]

    @on_backend
    async def test_a_dropped_timer_does_not_return(self, backend: Backend) -> None:
        run_id = new_id()
        now = time.time()
        timers = [Timer(now - age, run_id, f"sleep#{age}/1") for age in (3, 2, 1)]
        await backend.index.add_timers(timers)
        await backend.index.drop_timers([timers[1], Timer(now - 9, run_id, "unknown/1")])
        assert await self._due(backend, now, run_id) == [timers[0], timers[2]]
        await backend.index.drop_timers(timers)
        assert await self._due(backend, now, run_id) == []

    @on_backend
    async def test_due_timers_are_limited(self, backend: Backend) -> None:
        run_id = new_id()
        now = time.time()
        await backend.index.add_timers([Timer(now - 10, run_id, f"sleep#{place}/1") for place in range(5)])
        assert len(await backend.index.read_due_timers(now, 3)) == 3

    @on_backend
    async def test_deaths_are_counted_by_activation(self, backend: Backend) -> None:
        run_id = new_id()
        counts = [await backend.index.count_death(run_id, name) for name in ("crash", "crash", "other", "crash")]
        assert counts == [1, 2, 1, 3]
        assert await backend.index.count_death(new_id(), "crash") == 1

    async def _commit(self, backend: Backend, header: RunHeader, status: str, **fields: Any) -> RunHeader:
        """Commit and publish, as the owner of a run does."""
        commit = next_commit(header, f"end/n{header.seq}", status=status, **fields)
        assert await backend.state.commit(commit) is CommitOutcome.APPLIED
        after = (await load(backend.state, header.run_id)).header
        await backend.index.publish(after)
        return replace(after)

    async def _scan_live(self, backend: Backend, mine: set[str]) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        for _ in range(1000):
            page = await backend.index.scan_live_runs(cursor, 3)
            found += [run_id for run_id in _ids(page.headers) if run_id in mine]
            cursor = page.cursor
            if cursor is None:
                return found
        raise AssertionError("the scan does not end")

    async def _skip_finished(self, backend: Backend) -> str | None:
        """Where a reader stands that has seen all that ended so far."""
        cursor: str | None = None
        for _ in range(1000):
            page = await backend.index.scan_finished_runs(cursor, time.time(), 100)
            cursor = page.cursor
            if not page.headers:
                return cursor
        raise AssertionError("the scan does not end")

    async def _await_finished(
        self, backend: Backend, cursor: str | None, until: float, count: int
    ) -> tuple[list[str], str | None]:
        found: list[str] = []
        end = time.time() + self.patience
        while len(found) < count and time.time() < end:
            page = await backend.index.scan_finished_runs(cursor, until, 10)
            cursor = page.cursor
            found += _ids(page.headers)
            await asyncio.sleep(0.01)
        return found, cursor

    async def _due(self, backend: Backend, now: float, run_id: str) -> list[Timer]:
        return [timer for timer in await backend.index.read_due_timers(now, 1000) if timer.run_id == run_id]


def _ids(headers: list[RunHeader] | tuple[RunHeader, ...]) -> list[str]:
    return [header.run_id for header in headers]
