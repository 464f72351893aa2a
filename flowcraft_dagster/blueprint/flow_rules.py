"""Lint rules that look at how nodes follow each other: reachability, cycles, loops and joins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowcraft_dagster.blueprint.graph import find_components, number_components
from flowcraft_dagster.blueprint.issues import LintIssue, make_issue
from flowcraft_dagster.blueprint.joins import StartableNodes
from flowcraft_dagster.blueprint.lint_subject import LintSubject, Rule

_LISTED_NODES = 10
"""Nodes named in one message; the rest is counted."""


def check_reachability(subject: LintSubject) -> Iterator[LintIssue]:
    """Every node must be reached from a start node or from a named entry of a cycle."""
    blueprint, analysis = subject.blueprint, subject.analysis
    named = blueprint.metadata.get("cycleEntryPoints") or ()
    for entry in named:
        if entry not in blueprint.by_id:
            message = f"metadata.cycleEntryPoints names '{entry}', which does not exist"
            yield make_issue("UNKNOWN_CYCLE_ENTRY", message, related_id=entry)
    if not blueprint.nodes:
        yield make_issue("EMPTY_BLUEPRINT", f"blueprint '{blueprint.id}' has no nodes")
    if len(blueprint.nodes) < 2:
        return
    starts = set(analysis.entry_node_ids)
    if not analysis.start_node_ids:
        starts &= set(named)
    reached = subject.graph.reach(starts)
    for node in blueprint.nodes:
        if node.id not in reached:
            yield make_issue("ORPHAN_NODE", f"node '{node.id}' is not reached from any start node", node.id)


def check_cycles(subject: LintSubject) -> Iterator[LintIssue]:
    """A cycle repeats only by way of a controller's ``continue`` edge."""
    blueprint, graph = subject.blueprint, subject.graph
    kept = {node_id: dict.fromkeys(targets) for node_id, targets in graph.successors.items()}
    for loop_id in graph.controllers:
        others = dict.fromkeys(edge.target for edge in graph.outgoing[loop_id] if edge.action != "continue")
        fallback = blueprint.by_id[loop_id].config.fallback
        kept[loop_id] = others if fallback is None else {**others, fallback: None}
    for members in find_components(blueprint.by_id, lambda node_id: kept.get(node_id, ())):
        message = f"nodes {_list_names(members)} lie on a cycle without a loop-controller"
        yield make_issue("CYCLE_WITHOUT_CONTROLLER", message, members[0])


def check_loops(subject: LintSubject) -> Iterator[LintIssue]:
    """A loop must have a way out, and should have a way back."""
    graph = subject.graph
    circles = find_components(subject.blueprint.by_id, lambda node_id: graph.successors.get(node_id, ()))
    circle_of = number_components(circles)
    for loop_id in graph.controllers:
        body = subject.bodies[loop_id]
        if not any(edge.source in body for edge in graph.incoming[loop_id]):
            message = f"no edge leads back to loop '{loop_id}' from its body"
            yield make_issue("LOOP_WITHOUT_RETURN", message, loop_id)
            continue
        if any(edge.action != "continue" for edge in graph.outgoing[loop_id]):
            continue
        # Without an edge of its own the loop can still be left on the way back.
        circle = {node_id for node_id in circles[circle_of[loop_id]] if node_id in body or node_id == loop_id}
        if not any(_may_leave(subject, node_id, circle) for node_id in circle - {loop_id}):
            yield make_issue("LOOP_WITHOUT_EXIT", f"loop '{loop_id}' has no way out", loop_id)


def _may_leave(subject: LintSubject, node_id: str, circle: set[str]) -> bool:
    """Whether a run may come to a node of a circle and not go on around it."""
    edges = subject.graph.outgoing[node_id]
    if node_id in subject.bodies:
        # An inner loop ends some time, and then goes where its edges lead.
        return any(edge.target not in circle for edge in edges)
    # An edge with an action goes before those without, so one that leads away is a choice as well.
    return any(edge.action is not None or (edge.condition is not None and edge.target in circle) for edge in edges)


def check_joins(subject: LintSubject) -> Iterator[LintIssue]:
    """An ``all`` join must be able to get a taken edge from each of its sources."""
    graph, entries = subject.graph, subject.analysis.entry_node_ids
    startable = StartableNodes(graph, entries, subject.bodies)
    for join in startable.find_dead_joins():
        why = (
            f"{_list_names(join.sources)} would have to run before it and after it"
            if join.router is None
            else f"{_list_names(join.sources)} need different outcomes of '{join.router}'"
        )
        message = f"join '{join.node_id}' never fires: {why}"
        yield make_issue("JOIN_NEVER_FIRES", message, join.node_id, join.router or join.sources[0])
    if not graph.owners:
        return
    undisturbed = StartableNodes(graph, entries, subject.bodies, with_failures=False)
    for node in subject.blueprint.nodes:
        if node.id not in startable or node.id in undisturbed or node.id in graph.owners:
            continue
        sources = undisturbed.sort_sources(node.id)
        missing = [source for source, needs in sources.items() if needs is None]
        if 0 < len(missing) < len(sources):
            message = f"join '{node.id}' fires only after a failure, since {_list_names(missing)} run only then"
            yield make_issue("JOIN_WAITS_FOR_FALLBACK", message, node.id, missing[0])


def _list_names(node_ids: Iterable[str]) -> str:
    names = [f"'{node_id}'" for node_id in node_ids]
    shown = ", ".join(names[:_LISTED_NODES])
    return shown if len(names) <= _LISTED_NODES else f"{shown} and {len(names) - _LISTED_NODES} more"


RULES: tuple[Rule, ...] = (check_reachability, check_cycles, check_loops, check_joins)
