"""The table of requests: what its age limit takes, and what is said about it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.requests import DROPPED_AT_ONCE
from flowcraft_dagster.errors import RequestsLost
from flowcraft_dagster.ports.records import RequestRange
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


async def test_old_requests_are_dropped_and_counted_as_lost(backend: EmbeddedBackend, clock: SteppedClock) -> None:
    await backend.requests.send_requests([b"1", b"2", b"3"])
    (first,) = await backend.requests.find_ranges({}, None, 100)
    assert (first.end - first.start, first.lost) == (3, 0)
    clock.time += 8 * 86_400
    await backend.requests.send_requests([b"4"])
    (left,) = await backend.requests.find_ranges({0: first.start + 1}, first.topic_id, 100)
    assert (left.start, left.end, left.lost) == (first.end, first.end + 1, 2)
    assert [request.value for request in await backend.requests.read_requests(left)] == [b"4"]
    stale = RequestRange(first.topic_id, 0, first.start, first.end)
    with pytest.raises(RequestsLost, match="older than the queue keeps them") as lost:
        await backend.requests.read_requests(stale)
    assert (lost.value.start, lost.value.end) == (first.start, first.end)


async def test_old_requests_are_dropped_also_when_there_are_many(backend: EmbeddedBackend, clock: SteppedClock) -> None:
    await backend.requests.send_requests([b"old"] * (2 * DROPPED_AT_ONCE + 1))
    (first,) = await backend.requests.find_ranges({}, None, 10_000)
    clock.time += 8 * 86_400
    left = []
    for _ in range(3):
        await backend.requests.send_requests([b"new"])
        (found,) = await backend.requests.find_ranges({}, None, 10_000)
        left.append(found.end - found.start)

    assert left == [DROPPED_AT_ONCE + 2, 3, 3]
    (found,) = await backend.requests.find_ranges({0: first.end}, first.topic_id, 10_000)
    assert (found.start, found.lost) == (first.end, 0)


async def test_requests_that_are_all_gone_are_counted_as_lost(backend: EmbeddedBackend) -> None:
    await backend.requests.send_requests([b"1", b"2", b"3"])
    (first,) = await backend.requests.find_ranges({}, None, 100)
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute("DELETE FROM requests")
        connection.commit()
    (left,) = await backend.requests.find_ranges({0: first.start + 1}, first.topic_id, 100)

    assert (left.start, left.end, left.lost) == (first.end, first.end, 2)


async def test_a_table_that_was_cut_back_is_read_again(backend: EmbeddedBackend) -> None:
    await backend.requests.send_requests([b"1", b"2"])
    (first,) = await backend.requests.find_ranges({}, None, 100)
    # As after the file was restored from a copy.
    (again,) = await backend.requests.find_ranges({0: first.end + 10}, first.topic_id, 100)

    assert again == first
