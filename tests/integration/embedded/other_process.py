"""A process of its own over the embedded backend, driven line by line.

It answers ``ready`` and then reports what happens; commands come on standard input.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from flowcraft_dagster.backends.embedded import EmbeddedBackend
from flowcraft_dagster.backends.embedded.locks import Turnstile
from flowcraft_dagster.ports.records import RUNNING, Commit, CommitOutcome, Row, WorkerRecord
from flowcraft_dagster.runtime.system_clock import SystemClock


def say(text: str) -> None:
    """Report one line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def read_commands() -> asyncio.StreamReader:
    """Standard input as a stream."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def consume(backend: EmbeddedBackend, commands: asyncio.StreamReader) -> None:
    """Hold every message that is delivered; ``settle`` settles them all, ``fork`` leaves a child behind."""
    consumer = backend.jobs.open_consumer("slot", f"worker-{os.getpid()}")
    held = []

    async def on_revoked(partitions: frozenset[int], seconds: float) -> None:
        say(f"revoked {len(partitions)} {seconds:g}")

    await consumer.start(on_revoked)
    await backend.workers.record_worker(
        WorkerRecord(f"worker-{os.getpid()}", "slot", os.getpid(), "host", "alive", time.time(), time.time())
    )
    say("ready")

    async def collect() -> None:
        while True:
            for delivery in await consumer.fetch(100):
                held.append(delivery)
                say(f"got {delivery.message.value.decode()}")

    collecting = asyncio.create_task(collect())
    while command := (await commands.readline()).decode().strip():
        if command == "settle":
            consumer.settle(held)
            say("settled")
        if command == "fork":
            child = os.fork()
            if child == 0:
                os.closerange(0, 3)  # the pipes to the test must end with the parent
                signal.pause()
            say(f"forked {child}")
    collecting.cancel()
    await consumer.close()


async def commit(backend: EmbeddedBackend, commands: asyncio.StreamReader, name: str) -> None:
    """Commit to runs as they are named on standard input, and say so once a commit is acknowledged."""
    say("ready")
    work: set[asyncio.Task[None]] = set()

    async def drive(run_id: str, count: int) -> None:
        applied = 0
        while applied < count:
            header = await backend.state.read_header(run_id)
            assert header is not None
            seq = header.seq + 1
            attempt = Commit(
                run_id,
                f"{name}-{seq}",
                header.epoch,
                header.seq,
                header.epoch or 1,
                name,
                (Row(f"end/{name}-{seq}", seq, b"{}", b"1"),),
                RUNNING,
                time.time(),
            )
            if await backend.state.commit(attempt) is CommitOutcome.APPLIED:
                applied += 1
                say(f"applied {run_id} {seq}")
        say(f"done {run_id}")

    while command := (await commands.readline()).decode().split():
        task = asyncio.create_task(drive(command[0], int(command[1])))
        work.add(task)
    await asyncio.gather(*work)


def hold_lock(home: Path) -> None:
    """Take the write lock and never give it back."""
    turnstile = Turnstile(home)
    turnstile.enter()
    say("ready")
    signal.pause()


async def main(kind: str, home: Path, stale_seconds: float) -> None:
    """Open the backend and do what is asked for."""
    backend = EmbeddedBackend(home, SystemClock(), revoke_seconds=0.5, stale_seconds=stale_seconds)
    await backend.open()
    commands = await read_commands()
    if kind == "consume":
        await consume(backend, commands)
    else:
        await commit(backend, commands, f"process-{os.getpid()}")
    await backend.close()


if __name__ == "__main__":
    if sys.argv[1] == "lock":
        hold_lock(Path(sys.argv[2]))
    else:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
