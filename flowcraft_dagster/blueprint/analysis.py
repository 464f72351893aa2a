"""What a blueprint's shape is: cycles, where it starts and ends, what belongs to which loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from flowcraft_dagster.blueprint.graph import BlueprintGraph, find_dominators
from flowcraft_dagster.blueprint.model import Blueprint

MAX_CYCLES: Final = 1000
"""Cycles reported at most; nobody reads more, and each can be as long as the blueprint."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The shape of a blueprint.

    Attributes:
        cycles: each closed by its first node, such as ``("a", "b", "a")``. One for every edge that leads back, so
            each is reported once (Flowcraft repeats some). At most ``MAX_CYCLES``.
        start_node_ids: nodes that no edge leads to, fallback nodes among them.
        terminal_node_ids: nodes that no edge leaves.
        entry_node_ids: where a run begins: start nodes that are nobody's fallback and gather no batch; if there are
            none, the first node of every cycle that ``metadata.cycleEntryPoints`` names, or else the cycle's first.
        node_count: how many nodes there are.
        edge_count: how many edges there are.
        is_dag: whether there is no cycle.
    """

    cycles: tuple[tuple[str, ...], ...]
    start_node_ids: tuple[str, ...]
    terminal_node_ids: tuple[str, ...]
    entry_node_ids: tuple[str, ...]
    node_count: int
    edge_count: int
    is_dag: bool


def analyze_blueprint(blueprint: Blueprint) -> Analysis:
    """Find cycles, starts and ends of a blueprint. All in the blueprint's order.

    Args:
        blueprint: the blueprint; edges to unknown nodes are no hindrance.

    Example:
        >>> from flowcraft_dagster.blueprint.parse import parse_blueprint
        >>> nodes = [{"id": name, "uses": "echo"} for name in "ab"]
        >>> analyze_blueprint(parse_blueprint({"id": "x", "nodes": nodes, "edges": []})).start_node_ids
        ('a', 'b')
    """
    graph = BlueprintGraph(blueprint)
    cycles = tuple((*path[start:], path[start]) for path, start in islice(_walk_cycles(graph), MAX_CYCLES))
    targets = {edge.target for edge in blueprint.edges}
    sources = {edge.source for edge in blueprint.edges}
    starts = tuple(node.id for node in blueprint.nodes if node.id not in targets)
    return Analysis(
        cycles=cycles,
        start_node_ids=starts,
        terminal_node_ids=tuple(node.id for node in blueprint.nodes if node.id not in sources),
        entry_node_ids=_find_entries(graph, starts),
        node_count=len(blueprint.nodes),
        edge_count=len(blueprint.edges),
        is_dag=not cycles,
    )


def find_loop_bodies(graph: BlueprintGraph, entry_node_ids: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """The nodes that each loop controller repeats.

    The body is what the controller's ``continue`` edges reach without passing it or a controller that lies on every
    path to it, less what its other edges reach that way. A ``fallback`` counts as an edge. What is outside of a loop
    is outside of the loops in it as well.

    Args:
        graph: the blueprint's graph.
        entry_node_ids: where runs begin.

    Returns:
        Bodies by controller id, in the blueprint's order; the controller itself is not in its body.
    """
    dominators = find_dominators(entry_node_ids, graph.successors) if graph.controllers else {}
    controllers = frozenset(graph.controllers)
    bodies: dict[str, frozenset[str]] = {}
    for loop_id in graph.controllers:
        barrier = {loop_id}
        above = dominators.get(loop_id)
        while above is not None:
            if above in controllers:
                barrier.add(above)
            above = dominators[above]
        inside = {edge.target for edge in graph.outgoing[loop_id] if edge.action == "continue"}
        outside = {edge.target for edge in graph.outgoing[loop_id] if edge.action != "continue"}
        fallback = graph.blueprint.by_id[loop_id].config.fallback
        if fallback is not None and fallback in graph.owners:
            outside.add(fallback)
        body = graph.reach(inside, frozenset(barrier))
        bodies[loop_id] = frozenset(body - _reach_into(graph, outside, body, frozenset(barrier)))
    around = mark_loops(graph, bodies)
    return {
        loop_id: frozenset(node_id for node_id in body if not around[loop_id] & ~around[node_id])
        for loop_id, body in bodies.items()
    }


def mark_loops(graph: BlueprintGraph, bodies: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """The loops whose bodies a node belongs to, as the bits of a number.

    Args:
        graph: the blueprint's graph.
        bodies: nodes of each loop by its controller; its order gives the bits.
    """
    marks = dict.fromkeys(graph.blueprint.by_id, 0)
    for position, body in enumerate(bodies.values()):
        for node_id in body:
            marks[node_id] |= 1 << position
    return marks


def _reach_into(graph: BlueprintGraph, starts: set[str], body: set[str], barrier: frozenset[str]) -> set[str]:
    # Most bodies are entered by their controller only; then there is no need to walk through the rest of the graph.
    entered = any(
        edge.source not in body and edge.source not in barrier for node_id in body for edge in graph.incoming[node_id]
    )
    reaches_body = entered or not starts.isdisjoint(body) or not graph.owners.keys().isdisjoint(body)
    return graph.reach(starts, barrier) if reaches_body else set()


def _walk_cycles(graph: BlueprintGraph) -> Iterator[tuple[list[str], int]]:
    """For every edge that leads back in a depth-first search: the present path, and where on it the cycle starts.

    The path is the search's own and changes afterwards.
    """
    done: set[str] = set()
    for node in graph.blueprint.nodes:
        if node.id in done:
            continue
        path, position = [node.id], {node.id: 0}
        pending = [iter(_list_targets(graph, node.id))]
        while pending:
            target = next(pending[-1], None)
            if target is None:
                pending.pop()
                done.add(path[-1])
                del position[path.pop()]
            elif target in position:
                yield path, position[target]
            elif target not in done:
                position[target] = len(path)
                path.append(target)
                pending.append(iter(_list_targets(graph, target)))


def _list_targets(graph: BlueprintGraph, node_id: str) -> dict[str, None]:
    return dict.fromkeys(edge.target for edge in graph.outgoing[node_id])


def _find_entries(graph: BlueprintGraph, starts: tuple[str, ...]) -> tuple[str, ...]:
    entries = tuple(node_id for node_id in starts if not graph.incoming[node_id] and node_id not in graph.owners)
    if entries:
        return entries
    named = frozenset(graph.blueprint.metadata.get("cycleEntryPoints") or ())
    chosen: dict[str, None] = {}
    for path, start in _walk_cycles(graph):
        members = islice(path, start, None) if named else ()
        chosen[next((node_id for node_id in members if node_id in named), path[start])] = None
    return tuple(chosen)
