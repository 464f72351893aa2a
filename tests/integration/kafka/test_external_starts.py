"""A program that writes the documents' rows and jobs itself: its runs are started from them, and nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import RunNotFound
from flowcraft_dagster.ports.records import Message
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from tests.integration.kafka.site import Site, wait_until, wait_until_async

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.timeout(180)]

ACCEPTED = {"FLOWCRAFT_ACCEPT_EXTERNAL_STARTS": "true", "FLOWCRAFT_UNKNOWN_RUN_ATTEMPTS": "2"}


@asynccontextmanager
async def foreign_tables(site: Site) -> AsyncIterator[CassandraSession]:
    """The keyspace and tables that the documents' script makes, under a name of the test's own."""
    keyspace = f"{site.environment['CASSANDRA_KEYSPACE']}_page"
    site.overrides["CASSANDRA_EXTERNAL_KEYSPACE"] = keyspace
    session = CassandraSession(
        CassandraSettings(
            contact_points=tuple(site.stack["CASSANDRA_CONTACT_POINTS"].split(",")),
            port=int(site.stack["CASSANDRA_PORT"]),
            keyspace=keyspace,
        )
    )
    await session.open()
    try:
        await session.run_cql(
            f"CREATE KEYSPACE {keyspace} WITH REPLICATION = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        )
        await session.run_cql(f"CREATE TABLE {keyspace}.contexts (runId text PRIMARY KEY, data text)")
        await session.run_cql(
            f"CREATE TABLE {keyspace}.statuses (runId text PRIMARY KEY, status text, updated_at timestamp)"
        )
        yield session
    finally:
        await session.run_cql(f"DROP KEYSPACE IF EXISTS {keyspace}")
        await session.close()


async def run_cql(session: CassandraSession, text: str, values: tuple[str, ...] | None = None) -> list[tuple[Any, ...]]:
    """Run a statement in whose text ``KS`` stands for the keyspace."""
    return await session.run_cql(text.replace("KS", session.settings.keyspace), values)


async def announce(
    session: CassandraSession, client: AsyncClient, run_id: str, data: str | None, status: str = "running"
) -> None:
    """What the documents' client does."""
    if data is not None:
        await run_cql(session, "INSERT INTO KS.contexts (runid, data) VALUES (%s, %s)", (run_id, data))
    await run_cql(
        session,
        "INSERT INTO KS.statuses (runid, status, updated_at) VALUES (%s, %s, toTimestamp(now()))",
        (run_id, status),
    )
    job = {"runId": run_id, "blueprintId": "chain", "nodeId": "a"}
    await client.backend.jobs.send([Message(run_id, json.dumps(job).encode())] * 2)


async def test_announced_run_is_started_once_and_its_rows_are_left_alone(site: Site) -> None:
    site.overrides |= ACCEPTED
    async with foreign_tables(site) as session, site.client() as client:
        await announce(session, client, "17", '{"note": "from outside"}')
        async with site.worker("w0") as one, site.worker("w1") as two:

            async def has_ended() -> bool:
                try:
                    return (await client.status("17")).is_final
                except RunNotFound:
                    return False

            await wait_until_async("the run has ended", has_ended)
            result = await client.result("17")
            assert (result.status, result.outputs) == ("completed", {"a": 1, "b": 2, "c": 3})
            assert result.context["note"] == "from outside"
            assert site.record.count_begins("17") == {"a": 1, "b": 1, "c": 1}
            started = [worker.counters.get("external_starts", 0) for worker in (one, two)]
            assert sum(started) == 1
        assert await client.backend.dead_letters.list_letters(10) == ()
        assert await run_cql(session, "SELECT runid, data FROM KS.contexts") == [("17", '{"note": "from outside"}')]
        assert [row[:2] for row in await run_cql(session, "SELECT runid, status FROM KS.statuses")] == [
            ("17", "running")
        ]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        ("{not json", "running", "is not JSON"),
        ("[1, 2]", "running", "is not JSON where an object is needed"),
        (None, "running", "'18' is not known"),
        ("{}", "completed", "'18' is not known"),
    ],
)
async def test_announced_run_without_usable_rows_becomes_a_dead_letter(
    site: Site, data: str | None, status: str, reason: str
) -> None:
    site.overrides |= ACCEPTED
    async with foreign_tables(site) as session, site.client() as client:
        await announce(session, client, "18", data, status)
        async with site.worker():

            async def are_buried() -> bool:
                return len(await client.backend.dead_letters.list_letters(10)) == 2

            await wait_until_async("both jobs are dead letters", are_buried)
        for letter in await client.backend.dead_letters.list_letters(10):
            assert reason in letter.reason
            assert json.loads(letter.value) == {"runId": "18", "blueprintId": "chain", "nodeId": "a"}
        with pytest.raises(RunNotFound):
            await client.status("18")


async def test_tables_that_are_not_there_are_named(site: Site) -> None:
    site.overrides |= {**ACCEPTED, "CASSANDRA_EXTERNAL_KEYSPACE": "nowhere"}
    async with site.client() as client, site.worker():
        await client.backend.jobs.send([Message("19", b'{"runId": "19", "blueprintId": "chain", "nodeId": "a"}')])

        async def is_buried() -> bool:
            return len(await client.backend.dead_letters.list_letters(10)) == 1

        await wait_until_async("the job is a dead letter", is_buried)
        (letter,) = await client.backend.dead_letters.list_letters(10)
        assert "nowhere.contexts" in letter.reason


async def test_external_starts_are_off_unless_asked_for(site: Site) -> None:
    site.overrides["FLOWCRAFT_UNKNOWN_RUN_ATTEMPTS"] = "2"
    async with foreign_tables(site) as session, site.client() as client:
        await announce(session, client, "20", "{}")
        async with site.worker() as worker:
            await wait_until("both jobs are dead letters", lambda: worker.counters.get("dead_letters") == 2)
            assert worker.counters["external_starts"] == 0


async def test_topic_with_one_partition_works_and_the_worker_says_what_to_do(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.overrides["KAFKA_PARTITIONS"] = "1"
    async with site.client() as client:
        with caplog.at_level(logging.WARNING):
            async with site.worker():
                run_id = await client.start(StartRequest("chain"))
                assert (await client.wait(run_id, 60)).outputs == {"a": 1, "b": 2, "c": 3}
                await wait_until("the worker warns", lambda: "has one partition" in caplog.text)
        assert f"--alter --topic {site.environment['KAFKA_JOBS_TOPIC']} --partitions 12" in caplog.text
        (kafka,) = [report for report in await client.backend.check_health() if report.name == "kafka"]
        assert kafka.ok
        assert "one partition" in kafka.detail
