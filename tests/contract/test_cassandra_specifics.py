"""What only Cassandra has: layouts, limits, buckets and projections."""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from flowcraft_dagster.backends.cassandra.buckets import LIVE, TIMER, find_bucket, find_shard
from flowcraft_dagster.backends.cassandra.listings import LATE_SECONDS
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings, CassandraTables
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.errors import RunNotFound, SchemaMismatch, SizeLimitExceeded, StoreUnavailable
from flowcraft_dagster.ports.records import (
    AWAITING,
    COMPLETED,
    CommitOutcome,
    RunHeader,
    RunQuery,
    Signal,
    Timer,
)
from flowcraft_dagster.testing.contracts.samples import load, new_header, new_id, new_run, next_commit
from tests.contract.conftest import Servers, create_layout
from tests.contract.real_servers import eventually

pytestmark = pytest.mark.cassandra

Scenario = Callable[[KafkaBackend], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture
def fresh(servers: Servers) -> CassandraSettings:
    """Settings with listings of this test alone."""
    mark = uuid.uuid4().hex[:8]
    names = {name: f"{name}_{mark}" for name in ("live_runs", "finished_runs", "buckets", "timers")}
    settings = servers.cassandra.model_copy(update={"tables": CassandraTables(**names)})
    asyncio.run(create_layout(settings))
    return settings


@pytest.fixture
def foreign(servers: Servers) -> Iterator[CassandraSettings]:
    """A keyspace made by the page's statements."""
    settings = servers.cassandra.model_copy(update={"keyspace": f"page_{uuid.uuid4().hex[:8]}"})

    async def run(*texts: str) -> None:
        session = CassandraSession(settings)
        await session.open()
        for text in texts:
            await session.run_cql(text)
        await session.close()

    ks = settings.keyspace
    asyncio.run(
        run(
            f"CREATE KEYSPACE {ks} WITH REPLICATION = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
            f"CREATE TABLE {ks}.contexts (runId text PRIMARY KEY, data text)",
            f"CREATE TABLE {ks}.statuses (runId text PRIMARY KEY, status text, updated_at timestamp)",
        )
    )
    yield settings
    asyncio.run(run(f"DROP KEYSPACE {ks}"))


def run_on(settings: CassandraSettings, scenario: Scenario) -> None:
    async def drive() -> None:
        backend = KafkaBackend(cassandra=settings)
        await backend.open()
        try:
            await scenario(backend)
        finally:
            await backend.close()

    asyncio.run(drive())


def test_the_pages_layout_is_named_and_left_alone(foreign: CassandraSettings) -> None:
    async def drive() -> None:
        for call in ("open", "create_schema"):
            backend = KafkaBackend(cassandra=foreign)
            with pytest.raises(SchemaMismatch, match="runid text, data text") as refused:
                await getattr(backend, call)()
            assert refused.value.table == f"{foreign.keyspace}.contexts"
            await backend.close()
        session = CassandraSession(foreign)
        await session.open()
        tables = await session.run_cql(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (foreign.keyspace,)
        )
        assert sorted(row[0] for row in tables) == ["contexts", "statuses"]
        await session.close()

    asyncio.run(drive())


def test_our_tables_may_live_beside_the_pages(foreign: CassandraSettings) -> None:
    tables = CassandraTables(contexts="flowcraft_contexts", statuses="flowcraft_statuses")
    settings = foreign.model_copy(update={"tables": tables})
    asyncio.run(create_layout(settings))

    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        assert await backend.state.read_header(header.run_id) == header

    run_on(settings, scenario)


def test_missing_tables_are_named_when_they_are_needed(servers: Servers) -> None:
    async def drive() -> None:
        backend = KafkaBackend(cassandra=servers.cassandra.model_copy(update={"keyspace": "no_such_keyspace"}))
        await backend.open()
        with pytest.raises(StoreUnavailable, match=r"no_such_keyspace\.contexts does not exist; make it with"):
            await backend.state.read_header("run-1")
        await backend.close()

    asyncio.run(drive())


def test_a_server_that_is_away_is_an_error_without_secrets(servers: Servers) -> None:
    async def drive() -> None:
        settings = CassandraSettings.model_validate(
            {"contact_points": ("127.0.0.1",), "port": 1, "username": "u", "password": "s3cr3t", "connect_seconds": 1}
        )
        backend = KafkaBackend(cassandra=settings)
        with pytest.raises(StoreUnavailable) as away:
            await backend.open()
        assert "s3cr3t" not in str(away.value)
        await backend.close()

    asyncio.run(drive())


def test_large_values_are_refused_before_they_are_sent(servers: Servers) -> None:
    settings = servers.cassandra.model_copy(
        update={"max_value_bytes": 1000, "max_commit_bytes": 1500, "max_context_bytes": 2000}
    )

    async def scenario(backend: KafkaBackend) -> None:
        with pytest.raises(SizeLimitExceeded, match="initial context has 2001 bytes"):
            await backend.state.create_run(new_header(), b"x" * 2001)
        header = await new_run(backend.state, b"x" * 2000)
        with pytest.raises(SizeLimitExceeded, match="signal 'answer/a' has 1001 bytes"):
            await backend.state.add_signal(header.run_id, Signal("answer/a", b"x" * 1001))
        commit = next_commit(header, "end/a", "end/b")
        wide = replace(commit, rows=tuple(replace(row, output=b"y" * 800) for row in commit.rows))
        with pytest.raises(SizeLimitExceeded, match="one commit of 2 rows"):
            await backend.state.commit(wide)
        assert (await load(backend.state, header.run_id)).header == header

    run_on(settings, scenario)


def test_the_largest_commit_fits_the_server(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state, b"x" * servers.cassandra.max_context_bytes)
        commit = next_commit(header, *(f"end/{place}" for place in range(7)))
        wide = replace(commit, rows=tuple(replace(row, output=b"y" * 1024 * 1024) for row in commit.rows))
        assert await backend.state.commit(wide) is CommitOutcome.APPLIED
        run = await load(backend.state, header.run_id)
        assert [len(row.output or b"") for row in run.rows] == [1024 * 1024] * 7

    run_on(servers.cassandra, scenario)


def test_a_run_of_many_rows_is_read_in_pieces(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        keys: list[str] = []
        for turn in range(3):
            mine = [f"end/{turn}-{place:03d}" for place in range(250)]
            assert await backend.state.commit(next_commit(header, *mine)) is CommitOutcome.APPLIED
            header = replace(header, epoch=1, seq=turn + 1)
            keys += mine
        assert await backend.state.add_signal(header.run_id, Signal("cancel", b"{}")) is None
        run = await load(backend.state, header.run_id)
        assert sorted(row.key for row in run.rows) == keys
        assert [row.seq for row in run.rows] == [1] * 250 + [2] * 250 + [3] * 250
        assert run.signals == (Signal("cancel", b"{}"),)

    run_on(servers.cassandra, scenario)


def test_a_signal_for_nobody_is_refused(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        run_id = new_id()
        with pytest.raises(RunNotFound):
            await backend.state.add_signal(run_id, Signal("cancel", b"{}"))
        assert await backend.state.create_run(new_header(run_id=run_id), b"{}") is None

    run_on(servers.cassandra, scenario)


def test_the_status_row_is_for_people_too(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        session = CassandraSession(servers.cassandra)
        await session.open()

        async def look(run_id: str) -> tuple[object, ...]:
            columns = "status, blueprint_id, reason, updated_at, finished_at"
            place = f"{servers.cassandra.keyspace}.statuses"
            return (await session.run_cql(f"SELECT {columns} FROM {place} WHERE run_id = %s", (run_id,)))[0]  # noqa: S608

        header = await new_run(backend.state)
        assert (await look(header.run_id))[:3] == ("running", "moderation", None)
        await end(backend, header, status="failed", reason="why", now=header.started_at + 5)
        status, _, reason, updated_at, finished_at = await look(header.run_id)
        assert (status, reason) == ("failed", "why")
        assert updated_at == finished_at
        await session.close()

    run_on(servers.cassandra, scenario)


def test_runs_with_many_tags_are_published(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        # The server refuses batches over 50 KiB, and what is published of a run holds its tags twice.
        for size in (10_000, 60_000):
            tags = {"note": "x" * size}
            headers = [new_header(tags=tags) for _ in range(4)]
            await asyncio.gather(*(backend.state.create_run(header, b"{}") for header in headers))
            await asyncio.gather(*(end(backend, header) for header in headers))
            for header in headers:
                published = await backend.index.read_published(header.run_id)
                assert published is not None
                assert (published.status, published.tags) == (COMPLETED, tags)

    run_on(servers.cassandra, scenario)


def test_a_late_projection_never_undoes_a_newer_one(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        await end(backend, header)
        await backend.index.publish(header)
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert published.status == COMPLETED

    run_on(servers.cassandra, scenario)


def test_a_run_id_may_be_used_again_after_deletion(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        await end(backend, header)
        await backend.state.delete_run(header.run_id)
        assert await backend.index.read_published(header.run_id) is None
        again = await new_run(backend.state, run_id=header.run_id)
        assert await backend.state.read_header(header.run_id) == again
        assert await backend.index.read_published(header.run_id) == again
        assert (await load(backend.state, header.run_id)).rows == ()

    run_on(servers.cassandra, scenario)


def test_ended_runs_leave_the_listings_after_their_time(fresh: CassandraSettings) -> None:
    settings = fresh.model_copy(update={"finished_ttl_seconds": 4})

    async def scenario(backend: KafkaBackend) -> None:
        name = new_id("blueprint")
        header = await new_run(backend.state, blueprint_id=name)
        await end(backend, header)
        assert len(await backend.index.list_runs(RunQuery(blueprint_id=name))) == 1

        async def is_gone() -> bool:
            listed = await backend.index.list_runs(RunQuery(blueprint_id=name))
            return not listed and await backend.index.read_published(header.run_id) is None

        await eventually(is_gone)

    run_on(settings, scenario)


def test_old_live_runs_are_carried_into_the_present(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        start = time.time() - 86_400
        old = [await new_run(backend.state, started_at=start, updated_at=start) for _ in range(12)]
        young = [await new_run(backend.state) for _ in range(3)]
        # Ended after its listing had moved: found by its head, and taken off.
        expected = sorted(header.run_id for header in (*old, *young))
        assert sorted(await scan_live(backend, 5)) == expected
        session = CassandraSession(fresh)
        await session.open()
        buckets = [row[0] for row in await session.read("read_buckets", LIVE, 2**62)]
        await session.close()
        # The entry is only removed once it is old enough that nobody may be writing beside it.
        assert find_bucket(LIVE, time.time()) in buckets
        assert await backend.state.commit(next_commit(old[0], status=COMPLETED)) is CommitOutcome.APPLIED
        for _ in range(2):
            assert sorted(await scan_live(backend, 100)) == sorted(set(expected) - {old[0].run_id})

    run_on(fresh, scenario)


def test_an_end_that_was_not_published_is_repaired_by_a_scan(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        # The owner died right after its commit: no projection followed.
        ending = next_commit(header, status=COMPLETED)
        assert await backend.state.commit(ending) is CommitOutcome.APPLIED
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert published.status == "running"
        assert await scan_live(backend, 10) == []
        published = await backend.index.read_published(header.run_id)
        assert published is not None
        assert published.status == COMPLETED
        page = await backend.index.scan_finished_runs(None, time.time() + 1, 10)
        assert [found.run_id for found in page.headers] == [header.run_id]

    run_on(fresh, scenario)


def test_an_end_published_late_is_behind_no_reader(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        first = await new_run(backend.state)
        await end(backend, first)
        late = await new_run(backend.state)
        ended_at = time.time() - 600
        await backend.state.commit(next_commit(late, status=COMPLETED, now=ended_at))
        page = await backend.index.scan_finished_runs(None, time.time() + 1, 10)
        assert [found.run_id for found in page.headers] == [first.run_id]
        header = await backend.state.read_header(late.run_id)
        assert header is not None
        for _ in range(3):
            await backend.index.publish(header)
        page = await backend.index.scan_finished_runs(page.cursor, time.time() + 1, 10)
        assert [found.run_id for found in page.headers] == [late.run_id]
        assert page.headers[0].finished_at == ended_at

    run_on(fresh, scenario)


def test_an_end_published_as_late_as_may_be_is_before_no_reader_that_stays_behind(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        now = time.time()
        old = await new_run(backend.state)
        ended_at = now - backend.index.late_seconds - 1
        await backend.state.commit(next_commit(old, status=COMPLETED, now=ended_at))
        header = await backend.state.read_header(old.run_id)
        assert header is not None
        # As its owner did at that time.
        await backend.index._listings.publish_end(header, ended_at)
        late = await new_run(backend.state)
        await backend.state.commit(next_commit(late, status=COMPLETED, now=now - LATE_SECONDS + 1))
        page = await backend.index.scan_finished_runs(None, now - backend.index.late_seconds, 10)
        assert [found.run_id for found in page.headers] == [old.run_id]
        header = await backend.state.read_header(late.run_id)
        assert header is not None
        await backend.index.publish(header)
        page = await backend.index.scan_finished_runs(page.cursor, time.time() + 1, 10)
        assert [found.run_id for found in page.headers] == [late.run_id]

    run_on(fresh, scenario)


def test_an_entry_without_a_run_is_no_run(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        session = CassandraSession(fresh)
        await session.open()
        orphan = new_id()
        bucket = find_bucket(LIVE, time.time())
        entry = (bucket, find_shard(orphan), orphan, "bp", False, time.time(), False, None)
        await session.write("open_bucket", LIVE, bucket)
        await session.write("list_live", *entry)
        header = await new_run(backend.state)
        assert await scan_live(backend, 10) == [header.run_id]
        # Its start may still be under way, so it stays listed.
        assert await backend.state.create_run(new_header(run_id=orphan, started_at=entry[5]), b"{}") is None
        assert sorted(await scan_live(backend, 10)) == sorted([header.run_id, orphan])
        await session.close()

    run_on(fresh, scenario)


def test_timers_of_a_closed_bucket_come_back_when_added(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        now = time.time()
        old = Timer(now - 7200, new_id(), "sleep/1")
        await backend.index.add_timers([old])
        assert await backend.index.read_due_timers(now, 10) == (old,)
        await backend.index.drop_timers([old])
        other = KafkaBackend(cassandra=fresh)
        await other.open()
        assert await other.index.read_due_timers(now, 10) == ()
        again = Timer(now - 7200, new_id(), "sleep/2")
        await backend.index.add_timers([again])
        await other.close()
        third = KafkaBackend(cassandra=fresh)
        await third.open()
        assert await third.index.read_due_timers(now, 10) == (again,)
        await third.close()
        session = CassandraSession(fresh)
        await session.open()
        assert await session.read("read_buckets", TIMER, 2**62) == [(find_bucket(TIMER, now - 7200),)]
        await session.close()

    run_on(fresh, scenario)


def test_a_timer_that_was_late_is_found_soon(fresh: CassandraSettings) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        assert await backend.index.read_due_timers(time.time(), 10) == ()
        late = Timer(time.time() - 30, new_id(), "sleep/1")
        await backend.index.add_timers([late])

        async def is_due() -> bool:
            return await backend.index.read_due_timers(time.time(), 10) == (late,)

        await eventually(is_due)

    run_on(fresh, scenario)


def test_many_commits_at_once_keep_to_the_window(servers: Servers) -> None:
    settings = servers.cassandra.model_copy(update={"max_in_flight": 3})

    async def scenario(backend: KafkaBackend) -> None:
        headers = [await new_run(backend.state) for _ in range(40)]
        outcomes = await asyncio.gather(
            *(backend.state.commit(next_commit(h, "end/a", status=AWAITING)) for h in headers)
        )
        assert outcomes == [CommitOutcome.APPLIED] * 40

    run_on(settings, scenario)


def test_a_request_leaves_nothing_for_the_collector_of_cycles(servers: Servers) -> None:
    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        await backend.state.read_header(header.run_id)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                assert await backend.state.read_header(header.run_id) is not None
                assert await backend.state.add_signal(header.run_id, Signal(f"answer/{uuid.uuid4()}", b"{}")) is None
            assert gc.collect() < 50, "each request left a cycle"
        finally:
            gc.enable()

    run_on(servers.cassandra, scenario)


def test_a_cancelled_caller_frees_its_turn(servers: Servers) -> None:
    settings = servers.cassandra.model_copy(update={"max_in_flight": 1})

    async def scenario(backend: KafkaBackend) -> None:
        header = await new_run(backend.state)
        for _ in range(20):
            waiting = [asyncio.ensure_future(backend.state.read_header(header.run_id)) for _ in range(5)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert [answers[1], answers[3]] == [header, header]
        assert await asyncio.wait_for(backend.state.read_header(header.run_id), 5) == header

    run_on(settings, scenario)


async def end(backend: KafkaBackend, header: RunHeader, status: str = COMPLETED, **fields: Any) -> None:
    """End a run and publish it, as its owner does."""
    assert await backend.state.commit(next_commit(header, "end/a", status=status, **fields)) is CommitOutcome.APPLIED
    await backend.index.publish((await load(backend.state, header.run_id)).header)


async def scan_live(backend: KafkaBackend, limit: int) -> list[str]:
    found: list[RunHeader] = []
    cursor: str | None = None
    while True:
        page = await backend.index.scan_live_runs(cursor, limit)
        assert len(page.headers) <= limit
        found += page.headers
        cursor = page.cursor
        if cursor is None:
            return [header.run_id for header in found]
