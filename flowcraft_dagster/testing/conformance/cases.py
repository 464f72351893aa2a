"""Reading a file of conformance cases.

Blueprint ids may clash between cases, and workers know the blueprints of all cases at once. So every case gets a name
space: its blueprints, its entry and what its sub-flows refer to take the case's prefix. Results do not show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS, Blueprint
from flowcraft_dagster.blueprint.parse import parse_blueprint
from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FlowcraftError

MAX_FILE_BYTES = 512 * 1024 * 1024
STRICT_CATEGORY = "improved"
"""Only here are outputs of sub-flows with ``params.outputs`` part of every expectation."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a wait: ``node`` may be ``a/b`` for node b in the child run of a."""

    node: str
    output: Any = UNDEFINED
    action: str | None = None


@dataclass(frozen=True, slots=True)
class LetTimerFire:
    """Let a sleep end by itself."""

    node: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Cancel the run."""

    reason: str


Step = Answer | LetTimerFire | CancelRun


@dataclass(frozen=True, slots=True)
class Case:
    """A case that can be run.

    Attributes:
        index: its place in the file.
        name, category: as given.
        entry: id of the blueprint to run, in the case's name space.
        blueprints: all blueprints, in the case's name space.
        context: initial context.
        steps: what is done once the run awaits, in order.
        expect: what must be observed.
    """

    index: int
    name: str
    category: str
    entry: str
    blueprints: tuple[Blueprint, ...]
    context: Mapping[str, Any]
    steps: tuple[Step, ...]
    expect: Mapping[str, Any]

    @property
    def blueprint(self) -> Blueprint:
        """The blueprint to run."""
        return next(blueprint for blueprint in self.blueprints if blueprint.id == self.entry)

    @property
    def mapped_subflows(self) -> frozenset[str]:
        """Nodes of the entry blueprint whose outputs only some cases give: sub-flows with ``params.outputs``."""
        nodes = self.blueprint.nodes
        return frozenset(node.id for node in nodes if node.kind == "subflow" and node.params.get("outputs"))


@dataclass(frozen=True, slots=True)
class MalformedCase:
    """Something in the file that is no case, and why."""

    index: int
    name: str
    category: str
    reason: str


class _MalformedError(Exception):
    """Why something is no case."""


def load_cases(path: Path) -> list[Case | MalformedCase]:
    """Read a file of cases.

    Raises:
        FlowcraftError: there is no such file, or it is no JSON list.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FlowcraftError(f"case file '{path}' has more than {MAX_FILE_BYTES} bytes")
        document = decode(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FlowcraftError(f"case file '{path}' cannot be read: {reason}") from None
    if not isinstance(document, list):
        raise FlowcraftError(f"case file '{path}' is not a JSON list of cases")
    return [read_case(index, item) for index, item in enumerate(document)]


def read_case(index: int, document: Any) -> Case | MalformedCase:
    """Read one case; whatever it is, something comes of it."""
    known = document if isinstance(document, dict) else {}
    name, category = str(known.get("name", f"case {index}")), str(known.get("category", ""))
    try:
        return _read(index, name, category, document)
    except (_MalformedError, FlowcraftError) as error:
        return MalformedCase(index, name, category, " ".join(str(error).split()))


def _read(index: int, name: str, category: str, document: Any) -> Case:
    if not isinstance(document, dict):
        raise _MalformedError("the case is not an object")
    prefix = f"{index}:"
    blueprints = _take(document, "blueprints", dict, None)
    entry = _take(document, "entry", str, None)
    if entry not in blueprints:
        raise _MalformedError(f"entry '{entry}' is none of its blueprints")
    return Case(
        index=index,
        name=name,
        category=category,
        entry=prefix + entry,
        blueprints=tuple(_read_blueprint(prefix, key, blueprint) for key, blueprint in blueprints.items()),
        context=_take(document, "context", dict, {}),
        steps=tuple(_read_step(step) for step in _take(document, "resume", list, [])),
        expect=_take(document, "expect", dict, None),
    )


def _take(document: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = document.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind):
        raise _MalformedError(f"'{name}' is missing" if name not in document else f"'{name}' has the wrong type")
    return value


def _read_blueprint(prefix: str, key: str, document: Any) -> Blueprint:
    if not isinstance(document, dict):
        raise _MalformedError(f"blueprint '{key}' is not an object")
    # Checked under its own name first, so that what is refused is named as the file names it.
    parse_blueprint({**document, "id": key})
    nodes = document.get("nodes")
    items = list(nodes.values()) if isinstance(nodes, dict) else nodes
    return parse_blueprint(
        {**document, "id": prefix + key, "nodes": [_prefix_reference(prefix, n) for n in items or ()]}
    )


def _prefix_reference(prefix: str, node: Any) -> Any:
    params = node.get("params") or {}
    target = params.get("blueprintId")
    if BUILT_IN_KINDS.get(node["uses"]) != "subflow" or not isinstance(target, str) or not target:
        return node
    return {**node, "params": {**params, "blueprintId": prefix + target}}


def _read_step(step: Any) -> Step:
    if not isinstance(step, dict):
        raise _MalformedError("a step of 'resume' is not an object")
    if "cancel" in step:
        return CancelRun(str(step["cancel"]))
    node = step.get("node")
    if not isinstance(node, str):
        raise _MalformedError("a step of 'resume' names no node")
    if step.get("timer"):
        return LetTimerFire(node)
    action = step.get("action")
    return Answer(node, step.get("output", UNDEFINED), None if action is None else str(action))
