"""Suspects run alone: what was in flight when a worker died runs again in a process of its own.

Only the death of that process counts as the node's doing. Killing workers from outside therefore never fails a healthy
run, while a node that takes its process down with it fails its run after a few deaths and leaves the worker alone. A
process that cannot be started, or that does not know the node, is trouble of the installation: the suspect is tried
again, ever more slowly, and nothing is counted.

The process is ``python -m flowcraft_dagster.isolated MODULE:ATTR``; see ``runtime.isolated_process``.
"""

from __future__ import annotations

import logging

from flowcraft_dagster.engine.execute import describe_failure
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.isolated_form import encode_execution, read_outcome
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.engine.outcome import Failed, Outcome
from flowcraft_dagster.errors import IsolationUnavailable, NodeCrashLoop
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.isolated_process import IsolatedProcess, ProcessDied
from flowcraft_dagster.runtime.isolation_places import IsolationPlaces
from flowcraft_dagster.runtime.options import RuntimeOptions

logger = logging.getLogger(__name__)


class Isolator:
    """Runs executions in processes of their own, one at a time each.

    Args:
        target: ``MODULE:ATTR`` of the app.
        index: counts deaths durably.
        options: how many deaths are too many, and how many processes there may be.
        clock: time.
        patience: repeats what does not work now.
    """

    def __init__(self, target: str, index: RunIndex, options: RuntimeOptions, clock: Clock, patience: Patience) -> None:
        self._target = target
        self._index = index
        self._options = options
        self._clock = clock
        self._patience = patience
        self._places = IsolationPlaces(options.isolated_processes, options.max_isolated_processes, clock)
        self._idle: list[IsolatedProcess] = []
        self._all: set[IsolatedProcess] = set()

    async def run(self, execution: Execution) -> Outcome:
        """Run an execution; a death of its process is tried again and counted.

        Returns:
            What became of it; ``NodeCrashLoop`` as its failure after too many deaths.
        """
        key = execution.activation.key
        async with self._places.take(execution.run_id):
            while True:
                try:
                    return await self._patience.insist("isolate", lambda: self._attempt(execution), "processes")
                except ProcessDied as death:
                    deaths = await self._patience.insist(
                        "count death", lambda: self._index.count_death(execution.run_id, key)
                    )
                    told = "run %s: %s killed its process (%s; %d times so far)"
                    logger.warning(told, execution.run_id, key, death, deaths)
                if deaths >= self._options.max_crashes:
                    error = NodeCrashLoop(node_id=execution.node.id, deaths=deaths)
                    return Failed(describe_failure(execution.node.id, key, 1, error, self._clock.now()))

    async def close(self) -> None:
        """End all processes."""
        for process in list(self._all):
            await self._end(process)

    async def _attempt(self, execution: Execution) -> Outcome:
        process = self._idle.pop() if self._idle else await self._start()
        keeps = False
        try:
            answer = decode(await process.ask(encode_execution(execution)))
            if "trouble" in answer:
                raise IsolationUnavailable(answer["trouble"], target=self._target)
            for event in answer["events"]:
                execution.report(event["type"], event["payload"])
            # Starting one takes time, keeping one takes memory: it is kept only if somebody waits for its place.
            keeps = self._places.is_anybody_waiting
            return read_outcome(answer["outcome"])
        finally:
            if keeps:
                self._idle.append(process)
            else:
                # Dead, interrupted in the middle of a node, or of no more use.
                await self._end(process)

    async def _start(self) -> IsolatedProcess:
        process = IsolatedProcess(self._target)
        self._all.add(process)
        try:
            await process.start()
        except BaseException:
            await self._end(process)
            raise
        return process

    async def _end(self, process: IsolatedProcess) -> None:
        await process.end()
        self._all.discard(process)
