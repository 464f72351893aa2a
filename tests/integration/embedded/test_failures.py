"""A folder that cannot be written, a full disk, a foreign file: a clear error, and nothing lost."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.connection import connect
from flowcraft_dagster.errors import QueueUnavailable, SchemaMismatch, StorageReadOnly, StoreUnavailable
from flowcraft_dagster.ports.records import CommitOutcome, Message, Row
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.contracts.samples import load, new_header, new_run, next_commit


def _make(home: Path) -> EmbeddedBackend:
    return EmbeddedBackend(home, SystemClock(), patience=0.5)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _delete(home: Path) -> None:
    shutil.rmtree(home)


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True)


async def test_the_folder_is_made_with_everything_in_it(home: Path) -> None:
    backend = _make(home / "deep" / "down")
    assert await backend.create_schema() == [str(home / "deep" / "down"), str(backend.path)]
    assert await backend.create_schema() == []
    await backend.open()
    await backend.delete_schema()
    assert list((home / "deep" / "down").iterdir()) == []
    assert await backend.create_schema() == [str(backend.path)]
    await backend.open()
    await backend.open()
    (report,) = await backend.check_health()
    assert report.ok
    assert str(backend.path) in report.detail
    await backend.close()
    await backend.close()
    (report,) = await backend.check_health()
    assert not report.ok


async def test_two_processes_may_make_the_file_at_once(home: Path) -> None:
    backends = [_make(home) for _ in range(6)]
    await asyncio.gather(*(backend.open() for backend in backends))
    header = await new_run(backends[0].state)
    for backend in backends:
        assert await backend.state.read_header(header.run_id) == header
        await backend.close()


async def test_a_folder_that_is_a_file_is_named(home: Path) -> None:
    _write(home, b"not a folder")
    with pytest.raises(StorageReadOnly, match=str(home)) as caught:
        await _make(home).open()
    assert "FLOWCRAFT_HOME" in caught.value.hint


async def test_a_database_that_cannot_be_opened_is_named(home: Path) -> None:
    _make_folder(home / "flowcraft.db")
    with pytest.raises(StorageReadOnly, match=r"flowcraft\.db: unable to open database file"):
        await _make(home).open()


async def test_a_read_only_file_pauses_work_and_loses_nothing(backend: EmbeddedBackend) -> None:
    header = await new_run(backend.state)
    backend.session.writer.connection.execute("PRAGMA query_only = ON")
    commit = next_commit(header, "end/a")
    with pytest.raises(StorageReadOnly, match="readonly"):
        await backend.state.commit(commit)
    with pytest.raises(StorageReadOnly):
        await backend.jobs.send([Message("run-1", b"{}")])
    (report,) = await backend.check_health()
    assert not report.ok
    assert "cannot write to" in report.detail
    assert await load(backend.state, header.run_id)
    backend.session.writer.connection.execute("PRAGMA query_only = OFF")
    assert await backend.state.commit(commit) is CommitOutcome.APPLIED


async def test_a_full_disk_pauses_work_and_loses_nothing(backend: EmbeddedBackend) -> None:
    header = await new_run(backend.state)
    assert await backend.state.commit(next_commit(header, "end/a")) is CommitOutcome.APPLIED
    connection = backend.session.writer.connection
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    before = await load(backend.state, header.run_id)
    large = next_commit(replace(header, epoch=1, seq=1), rows=(Row("end/b", 2, b"{}", b"x" * 1_000_000),))
    with pytest.raises(StorageReadOnly, match="full") as caught:
        await backend.state.commit(large)
    assert caught.value.hint.startswith("Free space")
    assert await load(backend.state, header.run_id) == before
    connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert await backend.state.commit(large) is CommitOutcome.APPLIED
    assert (await load(backend.state, header.run_id)).rows[1] == large.rows[0]


async def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flowcraft.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.commit()
    before = _read(path)
    with pytest.raises(SchemaMismatch, match="customers") as caught:
        await _make(tmp_path).open()
    assert "Nothing was written" in caught.value.hint
    assert _read(path) == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flowcraft.db"
    notes = b"These are my notes, not a database. " * 100
    _write(path, notes)
    with pytest.raises(SchemaMismatch, match="not an SQLite database"):
        await _make(tmp_path).open()
    assert _read(path) == notes


async def test_a_file_of_a_newer_release_is_refused(home: Path) -> None:
    backend = _make(home)
    await backend.create_schema()
    with closing(connect(backend.path)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(SchemaMismatch, match="newer release"):
        await backend.open()


async def test_the_file_keeps_its_partitions(home: Path) -> None:
    first = EmbeddedBackend(home, SystemClock(), partitions=3)
    await first.open()
    second = EmbeddedBackend(home, SystemClock(), partitions=12)
    await second.open()
    assert (first.session.partitions, second.session.partitions) == (3, 3)
    assert first.session.topic_id == second.session.topic_id
    await first.close()
    await second.close()


async def test_a_backend_that_is_not_open_says_so(home: Path) -> None:
    backend = _make(home)
    with pytest.raises(StoreUnavailable, match="not open"):
        await backend.state.create_run(new_header(), b"{}")
    with pytest.raises(StoreUnavailable, match="not open"):
        await backend.state.read_header("run-1")
    with pytest.raises(QueueUnavailable, match="not open"):
        await backend.jobs.send([Message("run-1", b"{}")])
    with pytest.raises(QueueUnavailable, match="not open"):
        await backend.jobs.measure_lag()
    assert await backend.coordination.acquire_lease("lease", "one", 1.0), "no hint must not stop work"
    assert await backend.coordination.await_run("run-1", 0.01) is False
    assert "not open" in (await backend.coordination.check_health() or "")


async def test_a_foreign_program_that_locks_the_file_delays_writes(backend: EmbeddedBackend) -> None:
    header = await new_run(backend.state)
    commit = next_commit(header, "end/a")
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"locked|write lock"):
            await backend.state.commit(commit)
        foreign.execute("ROLLBACK")
    assert await backend.state.commit(commit) is CommitOutcome.APPLIED


async def test_closing_writes_what_was_asked_for(home: Path) -> None:
    backend = _make(home)
    await backend.open()
    header = await new_run(backend.state)
    committing = asyncio.ensure_future(backend.state.commit(next_commit(header, "end/a")))
    await asyncio.sleep(0)
    await backend.close()
    assert await committing is CommitOutcome.APPLIED
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("flowcraft")]
    await backend.open()
    assert (await load(backend.state, header.run_id)).header.seq == 1
    await backend.close()


async def test_a_file_that_was_deleted_while_it_was_open_takes_nothing_more(home: Path) -> None:
    backend = _make(home)
    await backend.open()
    header = await new_run(backend.state)
    await backend.requests.send_requests([b"1"])
    _delete(home)
    with pytest.raises(StoreUnavailable, match=r"flowcraft\.db was deleted or replaced while it was open"):
        await backend.state.read_header(header.run_id)
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        await backend.state.commit(next_commit(header, "end/a"))
    with pytest.raises(QueueUnavailable, match="deleted or replaced"):
        await backend.requests.send_requests([b"2"])
    other = _make(home)
    await other.open()
    await other.requests.send_requests([b"3"])
    with pytest.raises(QueueUnavailable, match="deleted or replaced"):
        await backend.requests.find_ranges({}, None, 10)

    # Opened again, it has the new file.
    await backend.open()
    (piece,) = await backend.requests.find_ranges({}, None, 10)
    assert [request.value for request in await backend.requests.read_requests(piece)] == [b"3"]
    assert await backend.state.read_header(header.run_id) is None
    await other.close()
    await backend.close()


async def test_a_store_that_cannot_be_read_is_said_once(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = _make(home)
    await backend.open()
    heard = asyncio.Event()
    stop = backend.session.watcher.listen(heard.set)
    await asyncio.wait_for(heard.wait(), 10)
    _delete(home)
    reads: list[str] = []
    looked = asyncio.Event()
    read = backend.session.reader.read

    def count(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        reads.append(sql)
        if len(reads) == 5:
            looked.set()
        return read(sql, values)

    monkeypatch.setattr(backend.session.reader, "read", count)
    await asyncio.wait_for(looked.wait(), 10)
    stop()
    await backend.close()
    said = [record for record in caplog.records if "cannot be read; looking again" in record.message]
    assert len(said) == 1
