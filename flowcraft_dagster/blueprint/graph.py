"""A blueprint as a graph: who follows whom, what is reached, which nodes lie on cycles.

Nothing here recurses, so a chain of ten thousand nodes is no deeper than one of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from flowcraft_dagster.blueprint.model import Blueprint, EdgeSpec


class BlueprintGraph:
    """Edges of a blueprint by their ends.

    Edges that lead from or to unknown nodes are left out. A batch-scatter that names its gather without an edge to
    it is connected all the same, behind all other edges.

    Args:
        blueprint: the blueprint.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        known = blueprint.by_id
        edges = [edge for edge in blueprint.edges if edge.source in known and edge.target in known]
        present = {(edge.source, edge.target) for edge in edges}
        for node in blueprint.nodes:
            gather = node.params.get("gatherNodeId") if node.kind == "batch-scatter" else None
            if isinstance(gather, str) and gather in known and (node.id, gather) not in present:
                edges.append(EdgeSpec(node.id, gather))
        self.edges: tuple[EdgeSpec, ...] = tuple(edges)

    @cached_property
    def outgoing(self) -> Mapping[str, list[EdgeSpec]]:
        """Edges by source, in the blueprint's order; every node has an entry."""
        found: dict[str, list[EdgeSpec]] = {node_id: [] for node_id in self.blueprint.by_id}
        for edge in self.edges:
            found[edge.source].append(edge)
        return found

    @cached_property
    def incoming(self) -> Mapping[str, list[EdgeSpec]]:
        """Edges by target, in the blueprint's order; every node has an entry."""
        found: dict[str, list[EdgeSpec]] = {node_id: [] for node_id in self.blueprint.by_id}
        for edge in self.edges:
            found[edge.target].append(edge)
        return found

    @cached_property
    def owners(self) -> Mapping[str, list[str]]:
        """Fallback nodes, each with the nodes that name it, in the blueprint's order."""
        found: dict[str, list[str]] = {}
        for node in self.blueprint.nodes:
            if node.config.fallback in self.blueprint.by_id:
                found.setdefault(node.config.fallback, []).append(node.id)
        return found

    @cached_property
    def successors(self) -> Mapping[str, list[str]]:
        """Distinct targets by source, first by edges, then by ``fallback``, which counts as an edge here."""
        found = {node_id: dict.fromkeys(edge.target for edge in edges) for node_id, edges in self.outgoing.items()}
        for fallback, owners in self.owners.items():
            for owner in owners:
                found[owner][fallback] = None
        return {node_id: list(targets) for node_id, targets in found.items()}

    @cached_property
    def controllers(self) -> tuple[str, ...]:
        """Ids of the loop controllers, in the blueprint's order."""
        return tuple(node.id for node in self.blueprint.nodes if node.kind == "loop-controller")

    def reach(self, starts: Iterable[str], avoid: frozenset[str] = frozenset()) -> set[str]:
        """Nodes reached from ``starts``, them included, without entering a node of ``avoid``."""
        seen = {node_id for node_id in starts if node_id not in avoid}
        pending = list(seen)
        while pending:
            for target in self.successors[pending.pop()]:
                if target not in seen and target not in avoid:
                    seen.add(target)
                    pending.append(target)
        return seen


def find_components(ids: Iterable[str], follow: Callable[[str], Iterable[str]]) -> list[list[str]]:
    """Strongly connected components that hold a cycle: several nodes, or one that follows itself.

    Args:
        ids: the nodes, in the order that decides which component comes first.
        follow: the successors of a node.

    Returns:
        Components, each in the order of ``ids`` and ordered by their first node. Tarjan's algorithm, iterative.
    """
    ids = list(ids)
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    open_nodes: set[str] = set()
    component: dict[str, str] = {}
    for root in ids:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        stack.append(root)
        open_nodes.add(root)
        trail = [(root, iter(follow(root)))]
        while trail:
            node, targets = trail[-1]
            target = next(targets, None)
            if target is None:
                trail.pop()
                if trail:
                    low[trail[-1][0]] = min(low[trail[-1][0]], low[node])
                if low[node] == order[node]:
                    while node not in component:
                        member = stack.pop()
                        open_nodes.discard(member)
                        component[member] = node
            elif target not in order:
                order[target] = low[target] = len(order)
                stack.append(target)
                open_nodes.add(target)
                trail.append((target, iter(follow(target))))
            elif target in open_nodes:
                low[node] = min(low[node], order[target])
    members: dict[str, list[str]] = {}
    for node in ids:
        members.setdefault(component[node], []).append(node)
    return [group for group in members.values() if len(group) > 1 or group[0] in follow(group[0])]


def number_components(components: Iterable[Iterable[str]]) -> dict[str, int]:
    """The position of its component for every node that is in one."""
    return {node: index for index, members in enumerate(components) for node in members}


def find_dominators(starts: Iterable[str], successors: Mapping[str, list[str]]) -> dict[str, str | None]:
    """The immediate dominator of every node reached: the last node that every path from the starts must pass.

    Args:
        starts: where paths begin.
        successors: targets by node.

    Returns:
        Dominators by node; None where there is none but the outside. Method of Cooper, Harvey and Kennedy,
        "A Simple, Fast Dominance Algorithm" (2001).
    """
    starts = list(starts)
    position = {node: index for index, node in enumerate(_order_by_depth(starts, successors))}
    sources: dict[str, list[str | None]] = {node: [] for node in position}
    for start in starts:
        sources[start].append(None)
    for node in position:
        for target in successors[node]:
            sources[target].append(node)
    dominator: dict[str, str | None] = {}
    changed = True
    while changed:
        changed = False
        for node in position:
            known = [source for source in sources[node] if source is None or source in dominator]
            nearest = known[0]
            for source in known[1:]:
                nearest = _meet(nearest, source, dominator, position)
            if node not in dominator or dominator[node] != nearest:
                dominator[node] = nearest
                changed = True
    return dominator


def _meet(
    left: str | None, right: str | None, dominator: Mapping[str, str | None], position: Mapping[str, int]
) -> str | None:
    while left != right:
        if left is None or right is None:
            return None
        if position[left] > position[right]:
            left = dominator[left]
        else:
            right = dominator[right]
    return left


def _order_by_depth(starts: Iterable[str], successors: Mapping[str, list[str]]) -> list[str]:
    """Reverse postorder of a depth-first search."""
    seen: set[str] = set()
    finished: list[str] = []
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        trail = [(start, iter(successors[start]))]
        while trail:
            target = next(trail[-1][1], None)
            if target is None:
                finished.append(trail.pop()[0])
            elif target not in seen:
                seen.add(target)
                trail.append((target, iter(successors[target])))
    return finished[::-1]
