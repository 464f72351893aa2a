"""Suspects run alone: what was in flight when a worker died runs again in a process of its own.

Only the death of that process counts as the node's doing. Killing workers from outside therefore never fails a healthy
run, while a node that takes its process down with it fails its run after a few deaths and leaves the worker alone.
The process is ``python -m flowcraft_dagster.isolated MODULE:ATTR``; requests and answers are JSON lines on its pipes.
It ends when its pipe closes, so that it does not outlive the worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

from flowcraft_dagster.engine.execute import describe_failure
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.isolated_form import encode_execution, read_outcome
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.engine.outcome import Failed, Outcome
from flowcraft_dagster.errors import NodeCrashLoop
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.options import RuntimeOptions

logger = logging.getLogger(__name__)
MAX_LINE = 64 * 1024 * 1024


class Isolator:
    """Runs executions in processes of their own, one at a time each.

    Args:
        target: ``MODULE:ATTR`` of the app.
        index: counts deaths durably.
        options: how many deaths are too many.
        clock: time.
        patience: repeats calls to servers that are away.
        processes: how many run side by side at the most.
    """

    def __init__(
        self,
        target: str,
        index: RunIndex,
        options: RuntimeOptions,
        clock: Clock,
        patience: Patience,
        processes: int = 2,
    ) -> None:
        self._target = target
        self._index = index
        self._options = options
        self._clock = clock
        self._patience = patience
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def run(self, execution: Execution) -> Outcome:
        """Run an execution; a death of its process is tried again and counted.

        Returns:
            What became of it; ``NodeCrashLoop`` as its failure after too many deaths.
        """
        async with self._slots:
            while True:
                answer = await self._attempt(execution)
                if answer is not None:
                    for event in answer["events"]:
                        execution.report(event["type"], event["payload"])
                    return read_outcome(answer["outcome"])
                key = execution.activation.key
                deaths = await self._patience.insist(
                    "count death", lambda: self._index.count_death(execution.run_id, execution.activation.key)
                )
                logger.error("run %s: %s killed its process (%d times so far)", execution.run_id, key, deaths)
                if deaths >= self._options.max_crashes:
                    error = NodeCrashLoop(node_id=execution.node.id, deaths=deaths)
                    return Failed(describe_failure(execution.node.id, key, 1, error, self._clock.now()))

    async def close(self) -> None:
        """End all processes."""
        for process in list(self._all):
            if process.returncode is None:
                process.kill()
            await process.wait()
        self._all.clear()

    async def _attempt(self, execution: Execution) -> dict[str, Any] | None:
        """The process's answer, or None when it died."""
        process = self._idle.pop() if self._idle else await self._spawn()
        if process.stdin is None or process.stdout is None:
            return None
        answered = False
        try:
            process.stdin.write(encode_execution(execution) + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
            if line.endswith(b"\n"):
                answered = True
                return dict(decode(line))
        except (BrokenPipeError, ConnectionResetError):
            logger.debug("the pipe of an isolated process broke")
        finally:
            if answered:
                self._idle.append(process)
            else:
                # Dead, or interrupted in the middle of a node: either way of no more use.
                if process.returncode is None:
                    process.kill()
                await process.wait()
                self._all.discard(process)
        return None

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flowcraft_dagster.isolated",
            self._target,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            env=os.environ | {"FLOWCRAFT_FAULT": ""},
        )
        self._all.add(process)
        return process
