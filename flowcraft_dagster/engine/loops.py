"""Which loops enclose a node.

The body of loop L is what its ``continue`` edges reach without passing L or a controller that dominates L, less what
its other edges reach that way; a ``fallback`` reference counts as an edge. Controller A dominates L when every path
from the start nodes to L passes A.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowcraft_dagster.blueprint.model import Blueprint

CONTINUE = "continue"


def find_controllers(blueprint: Blueprint) -> list[str]:
    """Ids of the loop controllers, in the order of the blueprint."""
    return [node.id for node in blueprint.nodes if node.kind == "loop-controller"]


def find_successors(blueprint: Blueprint) -> dict[str, list[str]]:
    """Targets by source, fallback references and batch gathers included."""
    successors: dict[str, list[str]] = {node.id: [] for node in blueprint.nodes}
    for edge in blueprint.edges:
        if edge.source in successors and edge.target in successors:
            successors[edge.source].append(edge.target)
    for node in blueprint.nodes:
        if node.config.fallback in successors:
            successors[node.id].append(str(node.config.fallback))
        gather = node.params.get("gatherNodeId") if node.kind == "batch-scatter" else None
        if isinstance(gather, str) and gather in successors:
            successors[node.id].append(gather)
    return successors


def find_bodies(blueprint: Blueprint, starts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Bodies of the loops, by controller.

    Args:
        blueprint: the graph.
        starts: ids of its start nodes.
    """
    controllers = find_controllers(blueprint)
    if not controllers:
        return {}
    successors = find_successors(blueprint)
    dominators = _find_dominating_controllers(controllers, successors, list(starts))
    bodies: dict[str, frozenset[str]] = {}
    for controller in controllers:
        barrier = dominators[controller] | {controller}
        own = [edge for edge in blueprint.edges if edge.source == controller and edge.target in successors]
        onward = _reach((edge.target for edge in own if edge.action == CONTINUE), successors, barrier)
        outward = [edge.target for edge in own if edge.action != CONTINUE]
        fallback = blueprint.by_id[controller].config.fallback
        if fallback in successors:
            outward.append(str(fallback))
        bodies[controller] = frozenset(onward - _reach(outward, successors, barrier))
    # What leaves an outer loop has left the inner one too.
    return {
        inner: body.intersection(*(bodies[outer] for outer in bodies if outer != inner and inner in bodies[outer]))
        for inner, body in bodies.items()
    }


def order_enclosing(blueprint: Blueprint, bodies: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Controllers whose loops enclose each node, outermost first; a controller belongs to its own loop."""
    depth = {inner: sum(inner in bodies[outer] for outer in bodies if outer != inner) for inner in bodies}
    ordered = sorted(bodies, key=lambda controller: depth[controller])
    return {
        node.id: tuple(loop for loop in ordered if node.id in bodies[loop] or node.id == loop)
        for node in blueprint.nodes
    }


def _reach(starts: Iterable[str], successors: Mapping[str, list[str]], barrier: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    stack = [start for start in starts if start not in barrier]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(target for target in successors[node] if target not in barrier)
    return seen


def _find_dominating_controllers(
    controllers: list[str], successors: Mapping[str, list[str]], starts: list[str]
) -> dict[str, set[str]]:
    dominators: dict[str, set[str]] = {controller: set() for controller in controllers}
    everywhere = _reach(starts, successors, ())
    for candidate in controllers:
        without = _reach(starts, successors, {candidate})
        for controller in controllers:
            if controller != candidate and controller in everywhere and controller not in without:
                dominators[controller].add(candidate)
    return dominators
