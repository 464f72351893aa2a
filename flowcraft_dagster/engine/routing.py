"""Which outgoing edges are followed, and what they carry. Evaluated once, before the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import OUTPUT_PREFIX, Snapshot, Stored
from flowcraft_dagster.engine.expression import UNDEFINED_NAME, evaluate
from flowcraft_dagster.engine.facts import TakenEdge
from flowcraft_dagster.engine.json_codec import check_depth, encode
from flowcraft_dagster.engine.plan import Plan, PlannedEdge
from flowcraft_dagster.engine.values import UNDEFINED, is_truthy
from flowcraft_dagster.engine.weighing import weighs_more
from flowcraft_dagster.errors import SizeLimitExceeded

Report = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's type and payload."""


class Aftermath:
    """The context right after a node has succeeded: the snapshot it started from plus its output and its own writes."""

    __slots__ = ("_node_id", "_output", "_snapshot", "_writes")

    def __init__(
        self,
        snapshot: Snapshot,
        node_id: str,
        output: Stored | None,
        writes: tuple[tuple[str, Stored | None], ...],
    ) -> None:
        self._snapshot = snapshot
        self._node_id = node_id
        self._output = output
        self._writes = dict(writes)

    def find(self, key: str) -> Stored | None:
        """The stored value a name leads to, or None."""
        if key == OUTPUT_PREFIX + self._node_id or (key == self._node_id and self._output is not None):
            return self._output
        if key in self._writes:
            return self._writes[key]
        return self._snapshot.find(key)

    def peek(self, key: str) -> Any:
        """The value for reading only, or ``UNDEFINED``."""
        stored = self.find(key)
        return UNDEFINED if stored is None else stored.peek()

    def keys(self) -> Iterator[str]:
        """Keys with a value."""
        names = dict.fromkeys(self._snapshot.keys())
        names.update(dict.fromkeys(self._writes))
        return (name for name in names if self.find(name) is not None)


class ContextMembers(Mapping[str, Any]):
    """The context as an object of the expression language; members are read when asked for."""

    __slots__ = ("_aftermath",)

    def __init__(self, aftermath: Aftermath) -> None:
        self._aftermath = aftermath

    def get(self, key: str, default: Any = None) -> Any:
        """The member, or ``default``."""
        value = self._aftermath.peek(key)
        return default if value is UNDEFINED else value

    def __getitem__(self, key: str) -> Any:
        value = self._aftermath.peek(key)
        if value is UNDEFINED:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return self._aftermath.keys()

    def __len__(self) -> int:
        return len(list(self._aftermath.keys()))


class ConditionScope:
    """Names in a condition: ``result``, ``context``, context keys, and node ids once they ran."""

    __slots__ = ("_aftermath", "_members", "_result")

    def __init__(self, aftermath: Aftermath, result: Mapping[str, Any] | None) -> None:
        self._aftermath = aftermath
        self._members = ContextMembers(aftermath)
        self._result = result

    def lookup(self, name: str) -> Any:
        """The value of a bare name, or ``UNDEFINED_NAME``."""
        if name == "result" and self._result is not None:
            return self._result
        value = self._aftermath.peek(name)
        if value is not UNDEFINED:
            return value
        return self._members if name == "context" else UNDEFINED_NAME


class TransformScope:
    """Names in a transform: ``input`` and ``context``."""

    __slots__ = ("_input", "_members")

    def __init__(self, aftermath: Aftermath, value: Any) -> None:
        self._members = ContextMembers(aftermath)
        self._input = value

    def lookup(self, name: str) -> Any:
        """The value of a bare name, or ``UNDEFINED_NAME``."""
        if name == "input":
            return self._input
        return self._members if name == "context" else UNDEFINED_NAME


def find_candidates(plan: Plan, activation: Activation) -> list[PlannedEdge]:
    """Edges that may be followed: the node's own, then those its chain of failed nodes left to it."""
    edges = list(plan.outgoing[activation.node_id])
    cause = activation.cause
    while cause is not None:
        edges.extend(plan.outgoing[cause.node_id])
        cause = cause.cause
    return edges


def route(
    plan: Plan,
    activation: Activation,
    output: Stored | None,
    action: str | None,
    aftermath: Aftermath,
    report: Report,
    max_bytes: int,
) -> tuple[TakenEdge, ...]:
    """Choose the edges to follow and evaluate their transforms.

    Precedence: a loop controller's conditions, then edges with the node's action, then edges without an action.

    Args:
        plan: the compiled blueprint.
        activation: what succeeded.
        output: its output; None where undefined.
        action: what it chose.
        aftermath: the context with its own writes.
        report: takes ``edge:evaluate``, ``node:skipped`` and ``expression:undefined`` events.
        max_bytes: what all transforms together may give.

    Raises:
        SerializationError: a transform gives what is nested too deep.
        SizeLimitExceeded: the transforms give more than ``max_bytes``.
    """
    edges = find_candidates(plan, activation)
    if not edges:
        return ()
    result: dict[str, Any] = {}
    if output is not None:
        result["output"] = output.peek()
    if action is not None:
        result["action"] = action
    scope = ConditionScope(aftermath, result)
    chosen = _choose(plan, activation, edges, action, scope, report)
    taken: list[TakenEdge] = []
    left = max_bytes
    for edge in chosen:
        if edge.spec.transform is None:
            taken.append(TakenEdge(edge.index))
            continue
        value = _transform(plan, edge, edge.spec.transform, output, aftermath, report)
        carried = None
        if value is not UNDEFINED:
            if weighs_more(value, left):
                what = f"what the transforms behind '{activation.key}' give"
                raise SizeLimitExceeded(what=what, size=f"more than {max_bytes}", limit=max_bytes)
            carried = _store(edge, value)
            left -= len(carried.data)
        taken.append(TakenEdge(edge.index, True, carried))
    return tuple(taken)


def _choose(
    plan: Plan,
    activation: Activation,
    edges: list[PlannedEdge],
    action: str | None,
    scope: ConditionScope,
    report: Report,
) -> list[PlannedEdge]:
    def passes(edge: PlannedEdge) -> bool:
        condition = edge.spec.condition
        if condition is None:
            return True
        taken = evaluate_condition(condition, scope, report)
        report("edge:evaluate", {"source": edge.spec.source, "target": edge.spec.target, "condition": condition,
                                 "result": taken})
        if not taken:
            report("node:skipped", {"nodeId": activation.node_id, "edge": [edge.spec.source, edge.spec.target]})
        return taken

    if plan.node(activation.node_id).kind == "loop-controller":
        matched = [edge for edge in edges if edge.spec.condition is not None and passes(edge)]
        if matched:
            return matched
    if action:
        matched = [edge for edge in edges if edge.spec.action == action and passes(edge)]
        if matched:
            return matched
    return [edge for edge in edges if edge.spec.action is None and passes(edge)]


def evaluate_condition(condition: str, scope: ConditionScope, report: Report) -> bool:
    """Whether JavaScript takes the expression for true; an undefined one is false and reported."""
    evaluation = evaluate(condition, scope)
    if evaluation.reason is not None:
        report("expression:undefined", {"expression": condition, "reason": evaluation.reason})
    return is_truthy(evaluation.value)


def _transform(
    plan: Plan, edge: PlannedEdge, transform: str, output: Stored | None, aftermath: Aftermath, report: Report
) -> Any:
    source = output
    named = plan.node(edge.spec.target).inputs
    if isinstance(named, str) and named and named != edge.spec.source:
        other = aftermath.find(named if named.startswith("_") else OUTPUT_PREFIX + named)
        source = output if other is None else other
    evaluation = evaluate(transform, TransformScope(aftermath, UNDEFINED if source is None else source.peek()))
    if evaluation.reason is not None:
        report("expression:undefined", {"expression": transform, "reason": evaluation.reason})
    return evaluation.value


def _store(edge: PlannedEdge, value: Any) -> Stored:
    if isinstance(value, ContextMembers):
        value = dict(value)
    what = f"transform of {edge.spec.source} -> {edge.spec.target}"
    data = encode(value, what)
    check_depth(data, what)
    return Stored(data)
