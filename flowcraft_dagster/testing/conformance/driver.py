"""Driving one case through a client: start, answer, let sleeps fire, wait for the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.ports.records import AWAITING
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.result import OpenWait, RunResult
from flowcraft_dagster.runtime.waits import ANSWERABLE
from flowcraft_dagster.testing.conformance.cases import Answer, CancelRun, Case, LetTimerFire

T = TypeVar("T")

_SHORTEST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


class StepFailed(FlowcraftError):
    """A step of ``resume`` does not fit the run."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """A run and the child runs it waits for.

    Attributes:
        result: the run.
        children: by the activation of their sub-flow; None for one that has not begun.
    """

    result: RunResult
    children: Mapping[str, _Tree | None]

    @property
    def is_paused(self) -> bool:
        """Whether nothing moves in the run and below it until somebody or a timer says so."""
        if self.result.status != AWAITING:
            return False
        return all(child is not None and child.is_paused for child in self.children.values())

    @property
    def has_timer(self) -> bool:
        """Whether something in it ends by itself."""
        if any("wakeAt" in wait.details for wait in self.result.waiting):
            return True
        return any(child is not None and child.has_timer for child in self.children.values())

    def find_wait(self, path: str) -> tuple[str, OpenWait] | None:
        """The run and the open wait that ``path`` names: a node, or ``a/b`` for node b below sub-flow a."""
        for wait in self.result.waiting:
            if wait.kind in ANSWERABLE and path in (wait.node_id, wait.activation):
                return self.result.run_id, wait
        for child, rest in self._below(path):
            found = child.find_wait(rest)
            if found is not None:
                return found
        return None

    def count_ends(self, path: str) -> int | None:
        """How often the node of ``path`` has ended; None when its run has ended and is out of sight."""
        if self.result.is_final:
            return None
        node_ids = {timing.node_id for timing in self.result.timings}
        if path in node_ids:
            return sum(timing.node_id == path and timing.status == "ok" for timing in self.result.timings)
        counts = [child.count_ends(rest) for child, rest in self._below(path)]
        known = [count for count in counts if count is not None]
        return max(known) if known else None

    def _below(self, path: str) -> list[tuple[_Tree, str]]:
        found = []
        for wait in self.result.waiting:
            child = self.children.get(wait.activation)
            for name in {wait.activation, wait.node_id}:
                if wait.kind == "subflow" and child is not None and path.startswith(f"{name}/"):
                    found.append((child, path[len(name) + 1 :]))
        return found


class CaseDriver:
    """Drives one case.

    Args:
        client: of an open backend.
        case: the case.
        run_id: name of its run.
    """

    def __init__(self, client: AsyncClient, case: Case, run_id: str) -> None:
        self._client = client
        self._case = case
        self._run_id = run_id
        self._fired: Counter[str] = Counter()

    async def drive(self) -> RunResult:
        """Run the case until the run has ended, or waits for something that no step gives.

        Raises:
            StepFailed: a step does not fit.
            FlowcraftError: the client refuses something.
        """
        case, client = self._case, self._client
        await self._insist(lambda: client.start(StartRequest(case.entry, case.context, self._run_id)))
        for step in case.steps:
            if isinstance(step, LetTimerFire):
                await self._await_fired(step)
            elif isinstance(step, CancelRun):
                await self._await(lambda tree: tree.is_paused or tree.result.is_final)
                await self._insist(lambda reason=step.reason: client.cancel(self._run_id, reason))  # type: ignore[misc]
                await self._await(lambda tree: tree.result.status != AWAITING)
            else:
                await self._answer(step)
        tree = await self._await(lambda tree: tree.result.is_final or (tree.is_paused and not tree.has_timer))
        return tree.result

    async def look(self) -> RunResult:
        """The run as it is now."""
        return await self._client.result(self._run_id)

    async def _answer(self, step: Answer) -> None:
        tree = await self._await(
            lambda tree: (
                tree.result.is_final
                or (tree.is_paused and (tree.find_wait(step.node) is not None or not tree.has_timer))
            )
        )
        found = tree.find_wait(step.node)
        if found is None:
            raise StepFailed(f"nothing waits at '{step.node}'; the run is {tree.result.status}")
        owner, wait = found
        request_id = f"{self._run_id}/{owner}/{wait.activation}"
        # By the path as the case names it: that is what is tested.
        await self._insist(
            lambda: self._client.resume(
                self._run_id, step.node, output=step.output, action=step.action, request_id=request_id
            )
        )
        await self._await_taken_up(owner, wait.activation)

    async def _await_taken_up(self, owner: str, activation: str) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            result = await self._insist(lambda: self._client.result(owner))
            timings = {timing.activation: timing for timing in result.timings}
            if result.is_final or (activation in timings and timings[activation].status != "open"):
                return
            pause = await self._pause(owner, pause)

    async def _await_fired(self, step: LetTimerFire) -> None:
        """Wait until the sleep has ended once more than the steps before have seen it."""
        self._fired[step.node] += 1
        wanted = self._fired[step.node]

        def has_fired(tree: _Tree) -> bool:
            if tree.result.is_final:
                return True
            count = tree.count_ends(step.node)
            if count is not None:
                return count >= wanted
            # Below a sub-flow that is over, or that has not begun: only a run that stands still tells which.
            return tree.is_paused

        await self._await(has_fired)

    async def _await(self, is_there: Callable[[_Tree], bool]) -> _Tree:
        pause = _SHORTEST_PAUSE
        while True:
            tree = await self._insist(lambda: self._load(self._run_id))
            if tree is not None and is_there(tree):
                return tree
            pause = await self._pause(self._run_id, pause)

    async def _pause(self, run_id: str, pause: float) -> float:
        await self._client.backend.coordination.await_run(run_id, pause)
        return min(pause * 1.5, _LONGEST_PAUSE)

    async def _load(self, run_id: str) -> _Tree:
        result = await self._client.result(run_id)
        children: dict[str, _Tree | None] = {}
        for wait in result.waiting:
            if wait.kind == "subflow":
                child = wait.details["childRunId"]
                known = await self._client.backend.state.read_header(child)
                children[wait.activation] = None if known is None else await self._load(child)
        return _Tree(result, children)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while a server is away; every call here is idempotent. The case's deadline ends it."""
        while True:
            try:
                return await call()
            except InfrastructureError:
                await asyncio.sleep(_LONGEST_PAUSE)
