"""Lint rules that look at one node or one edge at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from flowcraft_dagster.blueprint.durations import read_duration
from flowcraft_dagster.blueprint.elements import name_edge
from flowcraft_dagster.blueprint.fields import shorten
from flowcraft_dagster.blueprint.issues import LintIssue, make_issue
from flowcraft_dagster.blueprint.lint_subject import LintSubject, Rule
from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS, Blueprint, EdgeSpec
from flowcraft_dagster.errors import ExpressionError

_WORKERS_WITHOUT_PARAMS: Final = frozenset({"wait", "webhook"})
"""Built-in kinds that work without parameters, which batch workers do not get."""

_NEVER_FAILING: Final = frozenset({"wait", "loop-controller"})

_WITHOUT_ACTION: Final = frozenset({"sleep", "subflow", "batch-scatter", "batch-gather"})

_RESERVED_IDS: Final = frozenset({"context", "result", "input", "blueprintId", "blueprintVersion"})

_LITERALS: Final = frozenset({"undefined", "null", "true", "false", "NaN", "Infinity"})


def check_implementations(subject: LintSubject) -> Iterator[LintIssue]:
    """Every kind must be registered or built in."""
    if subject.node_kinds is None:
        return
    for node in subject.blueprint.nodes:
        if node.kind is None and node.uses not in subject.node_kinds:
            message = f"node '{node.id}' uses '{node.uses}', which is not registered"
            yield make_issue("MISSING_NODE_IMPLEMENTATION", message, node.id)


def check_batches(subject: LintSubject) -> Iterator[LintIssue]:
    """Workers must exist; scatters and gathers must pair up."""
    scatters: dict[object, str] = {}
    for node in subject.blueprint.nodes:
        if node.kind != "batch-scatter":
            continue
        worker, gather = node.params.get("workerUsesKey"), node.params.get("gatherNodeId")
        if not _is_worker(worker, subject.node_kinds):
            message = f"batch '{node.id}' has the worker '{worker}', which cannot be one"
            yield make_issue("INVALID_BATCH_WORKER_KEY", message, node.id)
        target = subject.blueprint.by_id.get(str(gather))
        if target is None or target.kind != "batch-gather":
            message = f"batch '{node.id}' gathers in '{gather}', which is no batch-gather"
            yield make_issue("INVALID_BATCH_GATHER", message, node.id, str(gather))
        elif gather in scatters:
            message = f"batches '{scatters[gather]}' and '{node.id}' both gather in '{gather}'"
            yield make_issue("INVALID_BATCH_GATHER", message, node.id, str(gather))
        scatters.setdefault(gather, node.id)
    for node in subject.blueprint.nodes:
        if node.kind == "batch-gather" and node.id not in scatters:
            yield make_issue("INVALID_BATCH_GATHER", f"no batch-scatter gathers in '{node.id}'", node.id)


def check_subflows(subject: LintSubject) -> Iterator[LintIssue]:
    """Sub-flows must lead to known blueprints and keep to unreserved keys; recursion needs care."""
    blueprint = subject.blueprint
    known = {**(subject.blueprints or {}), blueprint.id: blueprint}
    for node in blueprint.nodes:
        if node.kind != "subflow":
            continue
        child = node.params.get("blueprintId")
        if subject.blueprints is not None and child not in known:
            message = f"sub-flow '{node.id}' runs blueprint '{child}', which is not known"
            yield make_issue("INVALID_SUBFLOW_BLUEPRINT_ID", message, node.id, str(child))
        elif _calls(str(child), blueprint.id, known):
            message = f"sub-flow '{node.id}' runs blueprint '{child}', which leads back to '{blueprint.id}'"
            yield make_issue("SUBFLOW_RECURSION", message, node.id, str(child))
        for parent_key, child_key in (node.params.get("outputs") or {}).items():
            if parent_key.startswith("_") or child_key.startswith("_"):
                message = f"sub-flow '{node.id}' maps '{child_key}' to '{parent_key}' in 'outputs'; one is reserved"
                yield make_issue("RESERVED_SUBFLOW_OUTPUT", message, node.id)


def check_settings(subject: LintSubject) -> Iterator[LintIssue]:
    """Ids, durations, attempts and fallbacks of single nodes."""
    for node in subject.blueprint.nodes:
        if node.id.startswith("_") or node.id in _RESERVED_IDS:
            yield make_issue("RESERVED_NODE_ID", f"node id '{node.id}' is a reserved name", node.id)
        if node.kind == "sleep" and read_duration(node.params.get("duration")) is None:
            yield make_issue("INVALID_SLEEP_DURATION", f"sleep '{node.id}' has no duration that can be read", node.id)
        if node.config.max_retries < 1:
            message = f"node '{node.id}' has maxRetries {node.config.max_retries} and would never be tried"
            yield make_issue("NO_ATTEMPTS", message, node.id)
        if node.config.fallback is not None and node.kind in _NEVER_FAILING:
            message = f"node '{node.id}' of kind {node.kind} does not fail, so '{node.config.fallback}' never runs"
            yield make_issue("UNUSED_FALLBACK", message, node.id, node.config.fallback)
        if node.kind == "loop-controller" and not node.params.get("condition"):
            yield make_issue("LOOP_WITHOUT_CONDITION", f"loop '{node.id}' has no condition", node.id)


def check_edges(subject: LintSubject) -> Iterator[LintIssue]:
    """Edges must have ends; they should differ, be able to match, and lead to nodes that edges start."""
    known = subject.blueprint.by_id
    seen: set[EdgeSpec] = set()
    for edge in subject.blueprint.edges:
        source = known.get(edge.source)
        if source is None:
            message = f"edge '{_name(edge)}' comes from '{edge.source}', which does not exist"
            yield make_issue("INVALID_EDGE_SOURCE", message, edge.source, edge.target)
        if edge.target not in known:
            message = f"edge '{_name(edge)}' leads to '{edge.target}', which does not exist"
            yield make_issue("INVALID_EDGE_TARGET", message, edge.target, edge.source)
        if edge.target in subject.graph.owners:
            owner = subject.graph.owners[edge.target][0]
            message = f"edge '{_name(edge)}' never starts '{edge.target}', the fallback of '{owner}'"
            yield make_issue("EDGE_INTO_FALLBACK", message, edge.target, edge.source)
        if edge in seen:
            message = f"edge '{_name(edge)}' is there twice"
            yield make_issue("DUPLICATE_EDGE", message, edge.source, edge.target)
        seen.add(edge)
        if source is not None and source.config.fallback is None and _never_returns(source.kind, edge):
            message = f"edge '{_name(edge)}' waits for action '{edge.action}', which {source.kind} never returns"
            yield make_issue("ACTION_NEVER_RETURNED", message, edge.source, edge.target)


def check_expressions(subject: LintSubject) -> Iterator[LintIssue]:
    """Expressions must parse and read names that are known where they stand."""
    for role, where, text, node_id, related_id in _list_expressions(subject.blueprint):
        try:
            if subject.check_expression is not None:
                subject.check_expression(text)
            names = set() if subject.expression_names is None else subject.expression_names(text) - _LITERALS
        except ExpressionError as error:
            message = f"{role} of {where}: {shorten(str(error))}"
            yield make_issue("INVALID_EXPRESSION", message, node_id, related_id)
            continue
        if role == "transform":
            unknown = names - {"input", "context"}
        else:
            # Other names may be context keys, which only a run knows; 'input' is a common slip.
            unknown = names & {"input"} - subject.blueprint.by_id.keys()
        for name in sorted(unknown):
            message = f"{role} of {where} reads '{name}', which is not known there"
            yield make_issue("UNKNOWN_NAME", message, node_id, related_id)


def _is_worker(worker: Any, node_kinds: frozenset[str] | None) -> bool:
    if not isinstance(worker, str):
        return False
    kind = BUILT_IN_KINDS.get(worker)
    if kind is not None:
        return kind in _WORKERS_WITHOUT_PARAMS
    return node_kinds is None or worker in node_kinds


def _calls(child: str, wanted: str, known: dict[str, Blueprint]) -> bool:
    seen, pending = {child}, [child]
    while pending:
        current = pending.pop()
        if current == wanted:
            return True
        nodes = known[current].nodes if current in known else ()
        called = {str(node.params.get("blueprintId")) for node in nodes if node.kind == "subflow"} - seen
        seen |= called
        pending += called
    return False


def _never_returns(kind: str | None, edge: EdgeSpec) -> bool:
    if edge.action is None:
        return False
    if kind == "loop-controller":
        return edge.condition is None and edge.action not in {"continue", "break"}
    return kind in _WITHOUT_ACTION


def _name(edge: EdgeSpec) -> str:
    return name_edge(edge.source, edge.target)


def _list_expressions(blueprint: Blueprint) -> Iterator[tuple[str, str, str, str, str | None]]:
    for node in blueprint.nodes:
        condition = node.params.get("condition")
        if node.kind == "loop-controller" and isinstance(condition, str) and condition:
            yield "condition", f"loop '{node.id}'", condition, node.id, None
    for edge in blueprint.edges:
        for role, text in (("condition", edge.condition), ("transform", edge.transform)):
            if text:
                yield role, f"edge '{_name(edge)}'", text, edge.source, edge.target


RULES: tuple[Rule, ...] = (
    check_implementations,
    check_batches,
    check_subflows,
    check_edges,
    check_settings,
    check_expressions,
)
