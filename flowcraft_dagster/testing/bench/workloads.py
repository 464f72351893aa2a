"""What is measured: blueprints, their contexts, and the results that must come out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flowcraft_dagster.app import Flowcraft, load_app
from flowcraft_dagster.blueprint.model import Blueprint, EdgeSpec, NodeSpec
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.engine.node import Event
from flowcraft_dagster.errors import AppLoadError, SettingsError
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.conformance.nodes import nodes

NAMES: Final = ("chain5", "diamond", "fan50", "moderation")
MODERATION: Final = "examples.moderation:app"
OWN_APP: Final = "flowcraft_dagster.testing.bench.app:app"
VARIABLE: Final = "FLOWCRAFT_BENCH_BLUEPRINT"
MAX_NODES: Final = 10_000
_ADVICE: Final = "See 'flowcraft-dagster bench --help'."

_POSTS: Final = Path("examples/moderation/posts.jsonl")
_CHAIN: Final = re.compile(r"chain:?(\d{1,5})")
_FAN: Final = re.compile(r"fan:?(\d{1,5})")
_ENDS: Final = frozenset({"node:finish", "node:error"})


@dataclass(frozen=True)
class Workload:
    """What is run.

    Attributes:
        name: as asked for.
        target: ``MODULE:ATTR`` that workers load.
        app: the same app in this process.
        blueprint_id: the blueprint that is started.
        contexts: initial contexts, taken in turn.
    """

    name: str
    target: str
    app: Flowcraft
    blueprint_id: str
    contexts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a context must lead to, from a run in memory.

    Attributes:
        status, outputs: of the run.
        nodes: activations that ended, those of child runs included.
    """

    status: str
    outputs: Mapping[str, Any]
    nodes: int


def find_workload(name: str, context_bytes: int = 0) -> Workload:
    """The workload of that name.

    Args:
        name: ``chain5``, ``diamond``, ``fan50``, ``moderation``, or ``chain:N`` and ``fan:N`` of any size.
        context_bytes: ballast in the initial context.

    Raises:
        SettingsError: there is no such workload.
        AppLoadError: the moderation example cannot be imported from here.
    """
    ballast = {"ballast": "x" * context_bytes} if context_bytes else {}
    if name != "moderation":
        blueprint = make_blueprint(name)
        return Workload(name, OWN_APP, Flowcraft([blueprint], nodes), blueprint.id, [ballast])
    try:
        app = load_app(MODERATION)
        posts = [decode(line) for line in _POSTS.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise AppLoadError(f"{_POSTS}: {error.strerror}; run this in the project's folder", target=MODERATION) from None
    contexts = [{"userId": post["userId"], "userPost": post["userPost"], **ballast} for post in posts]
    return Workload(name, MODERATION, app, "content-moderation", contexts)


def make_blueprint(name: str) -> Blueprint:
    """A blueprint by its name; see :func:`find_workload`.

    Example:
        >>> [(edge.source, edge.target) for edge in make_blueprint("diamond").edges]
        [('a', 'b'), ('a', 'c'), ('b', 'd'), ('c', 'd')]
    """
    if name == "diamond":
        return _wire(name, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    for pattern, make in ((_CHAIN, _make_chain), (_FAN, _make_fan)):
        match = pattern.fullmatch(name)
        if match is not None:
            size = int(match.group(1))
            if not 1 <= size <= MAX_NODES - 2:
                reason = f"'{name}' has not between 1 and {MAX_NODES - 2} nodes"
                raise SettingsError(reason, name="--blueprint", advice=_ADVICE)
            return make(name, size)
    reason = f"'{name}' is none of {', '.join(NAMES)}, chain:N, fan:N"
    raise SettingsError(reason, name="--blueprint", advice=_ADVICE)


def _make_chain(name: str, size: int) -> Blueprint:
    if size == 1:
        return Blueprint(name, (NodeSpec("n1", "add"),))
    return _wire(name, [(f"n{number}", f"n{number + 1}") for number in range(1, size)])


def _make_fan(name: str, size: int) -> Blueprint:
    middle = [f"n{number}" for number in range(1, size + 1)]
    return _wire(name, [("first", node) for node in middle] + [(node, "join") for node in middle])


def _wire(name: str, edges: list[tuple[str, str]]) -> Blueprint:
    ids = dict.fromkeys(node_id for edge in edges for node_id in edge)
    return Blueprint(name, tuple(NodeSpec(i, "add") for i in ids), tuple(EdgeSpec(a, b) for a, b in edges))


async def find_references(workload: Workload, count: int) -> list[Reference]:
    """Run the first ``count`` contexts in memory, one after the other."""
    ends = 0

    def count_end(event: Event) -> None:
        nonlocal ends
        ends += event.type in _ENDS

    references: list[Reference] = []
    app = workload.app
    app.listeners.append(count_end)
    try:
        async with LocalRuntime(app, RuntimeOptions(timer_seconds=0.01)) as local:
            for context in workload.contexts[:count]:
                ends = 0
                run_id = await local.client.start(StartRequest(workload.blueprint_id, context))
                result = await local.client.wait(run_id, 600)
                references.append(Reference(result.status, result.outputs, ends))
    finally:
        app.listeners.remove(count_end)
    return references
