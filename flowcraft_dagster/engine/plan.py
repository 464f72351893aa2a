"""A blueprint made ready for running: everything that can be known before the first node starts."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from flowcraft_dagster.blueprint.analysis import analyze_blueprint
from flowcraft_dagster.blueprint.model import Blueprint, EdgeSpec, NodeSpec
from flowcraft_dagster.engine.loops import CONTINUE, find_bodies, order_enclosing

Pattern = tuple[int | None, ...]
"""Iteration numbers of a target's loops; None stands for every iteration."""


@dataclass(frozen=True, slots=True)
class PlannedEdge:
    """An edge with what following it takes.

    Attributes:
        index: place in the blueprint's order, which decides ties.
        spec: the edge.
        slots: for each loop of the target: the place of that loop among the source's loops, or None for an edge
            from outside that loop.
        enters: 0 for an edge into a controller from outside its loop, 1 for the way back, None for other targets.
        awaits_batch: whether the edge leads from a scatter to its gather, so that it arrives at the batch's end.
        is_continue: whether it is a controller's way into its body.
    """

    index: int
    spec: EdgeSpec
    slots: tuple[int | None, ...]
    enters: int | None
    awaits_batch: bool
    is_continue: bool

    def find_target_iterations(self, iterations: tuple[int, ...]) -> Pattern:
        """Which iterations of the target are meant by this edge, taken by the source in ``iterations``."""
        pattern: list[int | None] = [None if slot is None else iterations[slot] for slot in self.slots]
        if self.enters is not None:
            own = pattern[-1]
            pattern[-1] = 0 if self.enters == 0 or own is None else own + 1
        return tuple(pattern)


@dataclass(frozen=True)
class Plan:
    """A compiled blueprint.

    Attributes:
        blueprint: what it was made from.
        loops: controllers that enclose each node, outermost first; a controller counts as inside its own loop.
        outgoing: edges by source, in the blueprint's order.
        sources: how many distinct sources each node has.
        starts: nodes that start without an edge.
        fallbacks: nodes that are some other node's fallback; they start only as such.
        is_any: nodes that start on the first taken edge.
        late: ``any`` nodes by the controller whose ``continue`` may let an edge from outside count at last.
        order: place of each node in the blueprint.
        terminals: nodes without outgoing edges that are no fallbacks; they form a sub-flow's output.
    """

    blueprint: Blueprint
    loops: dict[str, tuple[str, ...]]
    edges: tuple[PlannedEdge, ...]
    outgoing: dict[str, tuple[PlannedEdge, ...]]
    sources: dict[str, int]
    starts: tuple[str, ...]
    fallbacks: frozenset[str]
    is_any: frozenset[str]
    late: dict[str, tuple[str, ...]]
    order: dict[str, int]
    terminals: tuple[str, ...]

    def node(self, node_id: str) -> NodeSpec:
        """The node with that id."""
        return self.blueprint.by_id[node_id]


_PLANS: OrderedDict[str, Plan] = OrderedDict()
_MAX_PLANS = 256


def make_plan(blueprint: Blueprint) -> Plan:
    """Compile a blueprint; plans are cached by content hash."""
    cached = _PLANS.get(blueprint.content_hash)
    if cached is not None:
        _PLANS.move_to_end(blueprint.content_hash)
        return cached
    plan = _compile(blueprint)
    _PLANS[blueprint.content_hash] = plan
    if len(_PLANS) > _MAX_PLANS:
        _PLANS.popitem(last=False)
    return plan


def find_starts(blueprint: Blueprint) -> tuple[str, ...]:
    """Nodes that start without an edge: those no edge leads to, or one per cycle where there are none."""
    targets = {edge.target for edge in blueprint.edges} | {edge.target for edge in _gather_edges(blueprint)}
    fallbacks = {node.config.fallback for node in blueprint.nodes}
    starts = tuple(node.id for node in blueprint.nodes if node.id not in targets and node.id not in fallbacks)
    if starts:
        return starts
    wanted = blueprint.metadata.get("cycleEntryPoints") or ()
    entries = [
        next((node_id for node_id in cycle if node_id in wanted), cycle[0])
        for cycle in analyze_blueprint(blueprint).cycles
    ]
    return tuple(dict.fromkeys(entries))


def _gather_edges(blueprint: Blueprint) -> list[EdgeSpec]:
    """An edge from each scatter to its gather where the blueprint has none: the parameter alone connects them."""
    present = {(edge.source, edge.target) for edge in blueprint.edges}
    return [
        EdgeSpec(node.id, str(node.params["gatherNodeId"]))
        for node in blueprint.nodes
        if node.kind == "batch-scatter"
        and node.params.get("gatherNodeId") in blueprint.by_id
        and (node.id, node.params["gatherNodeId"]) not in present
    ]


def _compile(blueprint: Blueprint) -> Plan:
    starts = find_starts(blueprint)
    bodies = find_bodies(blueprint, starts)
    loops = order_enclosing(blueprint, bodies)
    nodes = blueprint.by_id
    specs = [edge for edge in blueprint.edges if edge.source in nodes and edge.target in nodes]
    edges = tuple(
        _plan_edge(index, spec, nodes, loops) for index, spec in enumerate([*specs, *_gather_edges(blueprint)])
    )
    outgoing: dict[str, list[PlannedEdge]] = {node_id: [] for node_id in nodes}
    distinct: dict[str, set[str]] = {node_id: set() for node_id in nodes}
    for edge in edges:
        outgoing[edge.spec.source].append(edge)
        distinct[edge.spec.target].add(edge.spec.source)
    fallbacks = frozenset(str(node.config.fallback) for node in blueprint.nodes if node.config.fallback in nodes)
    is_any = frozenset(
        node.id for node in blueprint.nodes if node.config.join_strategy == "any" or node.kind == "loop-controller"
    )
    late: dict[str, dict[str, None]] = {}
    for edge in edges:
        around = loops[edge.spec.target][:-1] if edge.enters is not None else loops[edge.spec.target]
        if edge.spec.target in is_any and None in edge.slots[: len(around)]:
            late.setdefault(around[-1], {})[edge.spec.target] = None
    return Plan(
        blueprint=blueprint,
        loops=loops,
        edges=edges,
        outgoing={node_id: tuple(own) for node_id, own in outgoing.items()},
        sources={node_id: len(sources) for node_id, sources in distinct.items()},
        starts=starts,
        fallbacks=fallbacks,
        is_any=is_any,
        late={controller: tuple(targets) for controller, targets in late.items()},
        order={node.id: place for place, node in enumerate(blueprint.nodes)},
        terminals=tuple(
            node.id for node in blueprint.nodes if not outgoing[node.id] and node.id not in fallbacks
        ),
    )


def _plan_edge(
    index: int, spec: EdgeSpec, nodes: dict[str, NodeSpec], loops: dict[str, tuple[str, ...]]
) -> PlannedEdge:
    source_loops, target_loops = loops[spec.source], loops[spec.target]
    places = {controller: place for place, controller in enumerate(source_loops)}
    into_controller = nodes[spec.target].kind == "loop-controller"
    return PlannedEdge(
        index=index,
        spec=spec,
        slots=tuple(places.get(controller) for controller in target_loops),
        enters=None if not into_controller else int(spec.target in places),
        awaits_batch=nodes[spec.source].kind == "batch-scatter"
        and nodes[spec.source].params.get("gatherNodeId") == spec.target,
        is_continue=nodes[spec.source].kind == "loop-controller" and spec.action == CONTINUE,
    )
