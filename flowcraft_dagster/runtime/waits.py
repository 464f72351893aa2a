"""What a run waits for, and which of its waits a name means; both with the child runs below it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.errors import AlreadyAnswered, AmbiguousWait, NotWaiting, RunFinished
from flowcraft_dagster.ports.records import StoredRun
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.runtime.answered import ANSWER, find_answer
from flowcraft_dagster.runtime.result import OpenWait, find_open_waits

ANSWERABLE = frozenset({"wait", "webhook"})

LoadRun = Callable[[str], Awaitable[tuple[StoredRun, Blueprint]]]
"""Reads a run and the blueprint it is pinned to. Raises RunNotFound."""


class WaitFinder:
    """Looks for open waits.

    Args:
        store: where runs live.
        load: reads a run.
    """

    def __init__(self, store: StateStore, load: LoadRun) -> None:
        self._store = store
        self._load = load

    async def list_waits(self, run_id: str, prefix: str = "") -> list[OpenWait]:
        """Everything that is waited for, sub-flows included, each before what its child run waits for.

        Args:
            run_id: the run.
            prefix: what comes before the paths.

        Raises:
            RunNotFound: there is no such run.
        """
        stored, blueprint = await self._load(run_id)
        if stored.header.is_final:
            return []
        waits = []
        for wait in find_open_waits(stored, blueprint):
            named = replace(wait, path=prefix + wait.path)
            waits.append(named)
            if wait.kind == "subflow" and await self._store.read_header(wait.details["childRunId"]) is not None:
                waits.extend(await self.list_waits(wait.details["childRunId"], f"{named.path}/"))
        return waits

    async def find(self, run_id: str, node: str, request_id: str) -> tuple[str, str]:
        """The one wait that an answer is for.

        Args:
            run_id: the run.
            node: a node id, an activation key, or ``parentNode/childNode``.
            request_id: of the answer: what it was given to before is found again.

        Returns:
            Run and activation that wait, or have got this very answer.

        Raises:
            RunNotFound, RunFinished, NotWaiting, AmbiguousWait, AlreadyAnswered: there is no such wait.
        """
        stored, blueprint = await self._load(run_id)
        answered = await find_answer(self._store, stored, node, request_id)
        if answered is not None:
            return answered
        if stored.header.is_final:
            raise RunFinished(run_id=run_id, status=stored.header.status)
        waits = find_open_waits(stored, blueprint)
        named = [wait for wait in waits if wait.kind in ANSWERABLE and node in (wait.node_id, wait.activation)]
        exact = [wait for wait in named if wait.activation == node]
        if exact or len(named) == 1:
            return run_id, (exact or named)[0].activation
        if len(named) > 1:
            activations = ", ".join(wait.activation for wait in named)
            raise AmbiguousWait(run_id=run_id, node_id=node, activations=activations)
        for wait in waits:
            for name in (wait.activation, wait.node_id):
                if wait.kind == "subflow" and node.startswith(f"{name}/"):
                    return await self.find(wait.details["childRunId"], node[len(name) + 1 :], request_id)
        if _is_answered(stored, node):
            raise AlreadyAnswered(run_id=run_id, activation=node)
        open_waits = ", ".join(wait.path for wait in await self.list_waits(run_id) if wait.kind in ANSWERABLE)
        raise NotWaiting(run_id=run_id, node_id=node, waiting=open_waits or "nothing")


def _is_answered(stored: StoredRun, node: str) -> bool:
    """Whether an activation of the node, or the one of that key, has got an answer."""
    key = f"{ANSWER}{node}"
    return any(signal.key == key or signal.key.startswith(f"{key}#") for signal in stored.signals)
