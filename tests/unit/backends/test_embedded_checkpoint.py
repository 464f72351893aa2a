"""The write-ahead log of the embedded backend, while others read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend, checkpoint
from flowcraft_dagster.backends.embedded.connection import connect
from flowcraft_dagster.ports.records import Message
from tests.unit.stepped_clock import SteppedClock

LIMIT = 300_000
WRITES = 60
MESSAGE = Message("run", b"x" * 50_000)
ONE_WRITE = 100_000


@pytest.fixture
async def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedBackend]:
    monkeypatch.setattr(checkpoint, "LOG_BYTES", LIMIT)
    opened = EmbeddedBackend(tmp_path / "home", SteppedClock())
    await opened.open()
    yield opened
    await opened.close()


def _measure_log(backend: EmbeddedBackend) -> int:
    return Path(f"{backend.path}-wal").stat().st_size


def _begin_reading(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM messages").fetchall()


def _read_without_a_gap(path: Path, started: threading.Event, stop: threading.Event) -> None:
    """As several listings do that follow each other: the next one begins before the last one ends."""
    with closing(connect(path, query_only=True)) as ending, closing(connect(path, query_only=True)) as beginning:
        _begin_reading(ending)
        started.set()
        while not stop.wait(0.002):
            _begin_reading(beginning)
            ending.execute("ROLLBACK")
            ending, beginning = beginning, ending
        ending.execute("ROLLBACK")


async def test_the_log_stays_short_while_somebody_always_reads(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WAIT_SECONDS", 20.0)
    started, stop = threading.Event(), threading.Event()
    reader = threading.Thread(target=_read_without_a_gap, args=(backend.path, started, stop))
    reader.start()
    try:
        assert started.wait(20.0)
        longest = 0
        for _ in range(WRITES):
            await backend.jobs.send([MESSAGE])
            longest = max(longest, _measure_log(backend))
    finally:
        stop.set()
        reader.join()
    assert LIMIT < longest < LIMIT + 2 * ONE_WRITE
    assert await backend.jobs.measure_lag() == WRITES


async def test_a_reader_that_stands_still_does_not_slow_every_write(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "PAUSE_SECONDS", 3600.0)
    statements: list[str] = []
    backend.session.writer.connection.set_trace_callback(statements.append)
    with closing(connect(backend.path, query_only=True)) as frozen:
        _begin_reading(frozen)
        for _ in range(WRITES):
            await backend.jobs.send([MESSAGE])
        assert _measure_log(backend) > WRITES * len(MESSAGE.value)
        frozen.execute("ROLLBACK")
    assert 1 <= sum("wal_checkpoint" in statement for statement in statements) <= 2


async def test_the_log_is_emptied_once_the_reader_has_gone(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "PAUSE_SECONDS", 0.0)
    with closing(connect(backend.path, query_only=True)) as slow:
        _begin_reading(slow)
        for _ in range(10):
            await backend.jobs.send([MESSAGE])
        assert _measure_log(backend) > LIMIT
        slow.execute("ROLLBACK")
    await backend.jobs.send([MESSAGE])
    await backend.jobs.send([MESSAGE])  # the log is emptied behind the first one, before this one is written
    assert _measure_log(backend) < LIMIT
