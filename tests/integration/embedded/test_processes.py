"""The embedded backend between processes that are killed, frozen and resumed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.ports.records import Delivery, Message
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.contracts.samples import load, new_run, next_commit

StartProcess = Callable[..., Awaitable[Any]]
MANY = 40


async def _let_go(partitions: frozenset[int], seconds: float) -> None:
    """A revoke callback that has nothing to finish."""


def _messages(count: int = MANY) -> list[Message]:
    return [Message(f"run-{place}", f"value-{place}".encode()) for place in range(count)]


def _count(lines: list[str], word: str) -> int:
    return sum(line.startswith(word) for line in lines)


async def _fetch(backend: EmbeddedBackend, count: int) -> tuple[list[Delivery], float]:
    """Join the group and take ``count`` deliveries; returns them and the seconds since joining."""
    consumer = backend.jobs.open_consumer("here", "worker-here")
    start = time.monotonic()
    await consumer.start(_let_go)
    found: list[Delivery] = []
    while len(found) < count:
        found += await asyncio.wait_for(consumer.fetch(100), 20)
    taken = time.monotonic() - start
    consumer.settle(found)
    await consumer.close()
    return found, taken


async def test_a_lone_member_gets_messages_at_once(backend: EmbeddedBackend) -> None:
    await backend.jobs.send(_messages())
    _, seconds = await _fetch(backend, MANY)
    assert seconds < 0.5


async def test_messages_of_a_killed_process_come_again_within_a_second(
    backend: EmbeddedBackend, start_process: StartProcess
) -> None:
    await backend.jobs.send(_messages())
    other = await start_process("consume", stale_seconds=60.0)
    await other.until(lambda lines: _count(lines, "got") == MANY)
    other.signal(signal.SIGKILL)
    await other.process.wait()
    found, seconds = await _fetch(backend, MANY)
    assert {delivery.message.value for delivery in found} == {message.value for message in _messages()}
    assert seconds < 1.0


async def test_a_member_that_is_there_already_takes_over_from_a_killed_one(
    backend: EmbeddedBackend, start_process: StartProcess
) -> None:
    first = await start_process("consume", stale_seconds=60.0)
    second = await start_process("consume", stale_seconds=60.0)
    await first.until(lambda lines: _count(lines, "revoked") >= 1)
    await backend.jobs.send(_messages())
    while True:
        await asyncio.sleep(0.05)  # until both share the messages
        for other in (first, second):
            other.tell("noted")
        if await backend.jobs.measure_lag() == MANY:
            break
    await asyncio.sleep(0.2)
    first.signal(signal.SIGKILL)
    start = time.monotonic()
    await second.until(lambda lines: _count(lines, "got") == MANY)
    assert time.monotonic() - start < 1.0


async def test_a_forked_child_does_not_keep_a_killed_process_alive(
    backend: EmbeddedBackend, start_process: StartProcess
) -> None:
    await backend.jobs.send(_messages())
    other = await start_process("consume", stale_seconds=60.0)
    await other.until(lambda lines: _count(lines, "got") == MANY)
    other.tell("fork")
    await other.until(lambda lines: _count(lines, "forked") == 1)
    child = int(other.lines[-1].split()[1])
    try:
        other.signal(signal.SIGKILL)
        await other.process.wait()
        _, seconds = await _fetch(backend, MANY)
        assert seconds < 1.0
    finally:
        os.kill(child, signal.SIGKILL)


async def test_a_killed_worker_is_reported_dead(backend: EmbeddedBackend, start_process: StartProcess) -> None:
    other = await start_process("consume")
    worker_id = f"worker-{other.process.pid}"
    record = await backend.workers.read_worker(worker_id)
    assert record is not None
    assert record.state == "alive"
    other.signal(signal.SIGKILL)
    await other.process.wait()
    record = await backend.workers.read_worker(worker_id)
    assert record is not None
    assert record.state == "dead"
    assert [x.state for x in await backend.workers.list_workers(0)] == ["dead"]


async def test_a_frozen_process_loses_its_partitions_and_settles_nothing(
    backend: EmbeddedBackend, start_process: StartProcess
) -> None:
    await backend.jobs.send(_messages())
    frozen = await start_process("consume")
    await frozen.until(lambda lines: _count(lines, "got") == MANY)
    frozen.signal(signal.SIGSTOP)
    taker = await start_process("consume")
    await taker.until(lambda lines: _count(lines, "got") == MANY)
    # Its settling comes too late: the messages are the other one's by now.
    frozen.tell("settle")
    frozen.signal(signal.SIGCONT)
    await frozen.until_said("settled")
    await frozen.until(lambda lines: any(line == "revoked 12 0" for line in lines))
    assert await backend.jobs.measure_lag() == MANY
    # It is a member again and gets its share, with the messages that nobody has settled.
    await frozen.until(lambda lines: _count(lines, "got") > MANY)


async def test_a_process_that_holds_the_write_lock_delays_others_but_loses_nothing(
    backend: EmbeddedBackend, start_process: StartProcess
) -> None:
    header = await new_run(backend.state)
    holder = await start_process("lock")
    commit = next_commit(header, "end/a")
    with pytest.raises(StoreUnavailable, match=f"process {holder.process.pid} has held the write lock"):
        await backend.state.commit(commit)
    assert (await load(backend.state, header.run_id)).rows == (), "reading goes on meanwhile"
    holder.signal(signal.SIGKILL)
    await holder.process.wait()
    await backend.state.commit(commit)
    assert (await load(backend.state, header.run_id)).rows == commit.rows


async def test_two_processes_commit_to_the_same_runs(backend: EmbeddedBackend, start_process: StartProcess) -> None:
    headers = [await new_run(backend.state) for _ in range(4)]
    others = [await start_process("commit") for _ in range(2)]
    for other in others:
        for header in headers:
            other.tell(f"{header.run_id} 50")
        other.tell("")
    for other in others:
        await other.until(lambda lines: _count(lines, "done") == len(headers))
    for header in headers:
        run = await load(backend.state, header.run_id)
        assert [row.seq for row in run.rows] == list(range(1, 101))
        said = [line for other in others for line in other.lines if line.startswith(f"applied {header.run_id} ")]
        assert sorted(int(line.split()[2]) for line in said) == list(range(1, 101)), "two processes wrote one commit"


async def test_acknowledged_commits_survive_a_kill(home: Path, start_process: StartProcess) -> None:
    backend = EmbeddedBackend(home, SystemClock())
    await backend.open()
    headers = [await new_run(backend.state) for _ in range(8)]
    other = await start_process("commit")
    for header in headers:
        other.tell(f"{header.run_id} 100000")
    await other.until(lambda lines: _count(lines, "applied") >= 200)
    other.signal(signal.SIGKILL)
    rest, _ = await other.process.communicate()
    lines = other.lines + rest.decode().splitlines()
    for header in headers:
        acknowledged = [line.split()[2] for line in lines if line.startswith(f"applied {header.run_id} ")]
        run = await load(backend.state, header.run_id)
        assert run.header.seq == len(run.rows) >= len(acknowledged)
        assert [row.seq for row in run.rows] == list(range(1, len(run.rows) + 1))
    await backend.close()


async def test_an_idle_member_costs_next_to_nothing(backend: EmbeddedBackend, start_process: StartProcess) -> None:
    other = await start_process("consume")
    await asyncio.sleep(0.5)
    before = _cpu_seconds(other.process.pid)
    await asyncio.sleep(2.0)
    assert (_cpu_seconds(other.process.pid) - before) / 2.0 < 0.05


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
