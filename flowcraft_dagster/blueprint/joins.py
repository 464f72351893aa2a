"""Which nodes can ever start, and so which ``all`` joins can never fire.

A node returns one action, so of its outgoing edges only those of one *outcome* are taken: those with one action, or
those without (loop controllers also have the outcome "a condition held"). A node behind such an edge is known to
need that outcome. An ``all`` join whose sources need different outcomes of the same node never fires. What is known
is an under-estimate in every doubtful case, so a join named here really never fires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from flowcraft_dagster.blueprint.analysis import mark_loops
from flowcraft_dagster.blueprint.graph import BlueprintGraph, find_components, number_components
from flowcraft_dagster.blueprint.model import EdgeSpec

Needs = Mapping[str, frozenset[str]]
"""For some nodes, the outcomes one of which they must have had. A node that is not named may have had any."""

MAX_NEEDS: Final = 64
"""Nodes remembered in one ``Needs``; forgetting some only makes the answer more careful."""

_DEFAULT: Final = "\0default"
_CONDITION: Final = "\0condition"


@dataclass(frozen=True, slots=True)
class DeadJoin:
    """An ``all`` join that never fires.

    Attributes:
        node_id: the join.
        sources: the sources that never come together, or that wait for the join itself.
        router: the node that would have to choose two ways at once; None if the join waits for itself.
    """

    node_id: str
    sources: tuple[str, ...]
    router: str | None


class StartableNodes:
    """The nodes that can start, and what they need.

    Args:
        graph: the blueprint's graph.
        entry_node_ids: where a run begins.
        bodies: nodes of each loop by its controller; see :func:`find_loop_bodies`.
        with_failures: whether nodes may fail, so that fallbacks start.
    """

    def __init__(
        self,
        graph: BlueprintGraph,
        entry_node_ids: Iterable[str],
        bodies: Mapping[str, frozenset[str]],
        *,
        with_failures: bool = True,
    ) -> None:
        self._graph = graph
        self._entries = frozenset(entry_node_ids)
        self._bodies = bodies
        self._with_failures = with_failures
        self._loops = mark_loops(graph, bodies)
        for position, loop_id in enumerate(bodies):
            self._loops[loop_id] |= 1 << position
        self._closed = self._find_closed_loops()
        self._routers = {node_id for node_id in graph.outgoing if self._is_router(node_id)}
        self._needs: dict[str, Needs] = {}
        self._settle()

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._needs

    def find_dead_joins(self) -> list[DeadJoin]:
        """The ``all`` joins that never fire, unless the reason is only that a source of theirs never starts."""
        dead = []
        circle_of = number_components(find_components(self._graph.outgoing, self._graph.successors.__getitem__))
        for node in self._graph.blueprint.nodes:
            if node.id in self or not self._is_all_join(node.id) or node.id in self._graph.owners:
                continue
            sources = self.sort_sources(node.id)
            live = {source: needs for source, needs in sources.items() if needs is not None}
            missing = [source for source in sources if source not in live]
            if sources and not missing:
                dead.append(self._explain(node.id, live))
            elif node.id in circle_of and (live or node.id in missing):
                waiting = tuple(source for source in missing if circle_of.get(source) == circle_of[node.id])
                if waiting:
                    dead.append(DeadJoin(node.id, waiting, None))
        return dead

    def sort_sources(self, node_id: str) -> dict[str, Needs | None]:
        """What a taken edge from each distinct source needs; None for a source that never takes one."""
        found: dict[str, Needs | None] = {}
        for edge in self._graph.incoming[node_id]:
            if edge.target in self._closed and edge.source in self._bodies[edge.target]:
                # The way back brings nothing new: whatever it needs, entering the loop needed first.
                continue
            needs = self._follow(edge)
            before = found.get(edge.source)
            found[edge.source] = before if needs is None else needs if before is None else _either(before, needs)
        return found

    def _explain(self, node_id: str, sources: Mapping[str, Needs]) -> DeadJoin:
        agreed: dict[str, frozenset[str]] = {}
        for needs in sources.values():
            for router, outcomes in needs.items():
                agreed[router] = agreed.get(router, outcomes) & outcomes
        torn = next((router for router, outcomes in agreed.items() if not outcomes), None)
        # One source stands for all that need the same; two may be enough to show the contradiction.
        first: dict[frozenset[str], str] = {}
        for source, needs in sources.items():
            if torn is not None and torn in needs:
                first.setdefault(needs[torn], source)
        pairs = combinations(first.items(), 2)
        pair = next(((one, other) for (left, one), (right, other) in pairs if not left & right), None)
        return DeadJoin(node_id, pair or tuple(sources), torn)

    def _settle(self) -> None:
        """Start from nothing and let nodes start until no more can: the least fixed point."""
        pending = deque(node.id for node in self._graph.blueprint.nodes)
        queued = set(pending)
        while pending:
            node_id = pending.popleft()
            queued.discard(node_id)
            needs = self._find_needs(node_id)
            if needs is None:
                continue
            before = self._needs.get(node_id)
            after = needs if before is None else _either(before, needs)
            if before is not None and after == before:
                continue
            self._needs[node_id] = after
            for target in self._graph.successors[node_id]:
                if target not in queued:
                    queued.add(target)
                    pending.append(target)

    def _find_needs(self, node_id: str) -> Needs | None:
        """What a node needs to start, as far as it is known by now; None while it cannot start."""
        if node_id in self._entries:
            return {}
        owners = self._graph.owners.get(node_id)
        if owners is not None:
            if not self._with_failures:
                return None
            return _any_of(self._leave_loops(self._needs[owner], node_id) for owner in owners if owner in self._needs)
        sources = self.sort_sources(node_id)
        if not self._is_all_join(node_id):
            return _any_of(needs for needs in sources.values() if needs is not None)
        return _all_of(sources.values())

    def _follow(self, edge: EdgeSpec) -> Needs | None:
        """What it needs for an edge to be taken; None while it cannot be."""
        needs = self._needs.get(edge.source)
        if needs is not None and edge.source in self._routers:
            needs = _all_of((needs, {edge.source: frozenset({self._outcome(edge)})}))
        return None if needs is None else self._leave_loops(needs, edge.target)

    def _leave_loops(self, needs: Needs, node_id: str) -> Needs:
        # A node in a loop may have another outcome in every iteration; outside of the loop all of them count.
        outside = ~self._loops[node_id]
        kept = [(router, outcomes) for router, outcomes in needs.items() if not self._loops[router] & outside]
        return dict(kept[-MAX_NEEDS:])

    def _find_closed_loops(self) -> set[str]:
        """Loops that are entered by way of their controller only."""
        own = {loop_id: 1 << position for position, loop_id in enumerate(self._bodies)}
        opened = 0
        for entry in self._entries:
            opened |= self._loops[entry] & ~own.get(entry, 0)
        for source, targets in self._graph.successors.items():
            for target in targets:
                opened |= self._loops[target] & ~self._loops[source] & ~own.get(target, 0)
        return {loop_id for loop_id, mark in own.items() if not opened & mark}

    def _is_all_join(self, node_id: str) -> bool:
        node = self._graph.blueprint.by_id[node_id]
        return node.config.join_strategy == "all" and node.kind != "loop-controller"

    def _is_router(self, node_id: str) -> bool:
        # A fallback of several nodes, or of one that is repeated, may run several times with another outcome each.
        owners = self._graph.owners.get(node_id, ())
        if len(owners) > 1 or any(self._loops[owner] & ~self._loops[node_id] for owner in owners):
            return False
        return len({self._outcome(edge) for edge in self._graph.outgoing[node_id]}) > 1

    def _outcome(self, edge: EdgeSpec) -> str:
        if edge.condition is not None and edge.source in self._bodies:
            return _CONDITION
        return _DEFAULT if edge.action is None else edge.action


def _either(left: Needs, right: Needs) -> Needs:
    return {router: left[router] | right[router] for router in left if router in right}


def _any_of(alternatives: Iterable[Needs]) -> Needs | None:
    found: Needs | None = None
    for needs in alternatives:
        found = needs if found is None else _either(found, needs)
    return found


def _all_of(demands: Iterable[Needs | None]) -> Needs | None:
    """What all demands need together; None if one cannot be met or two contradict each other."""
    found: dict[str, frozenset[str]] = {}
    for needs in demands:
        if needs is None:
            return None
        for router, outcomes in needs.items():
            both = found[router] & outcomes if router in found else outcomes
            if not both:
                return None
            found[router] = both
    return found
