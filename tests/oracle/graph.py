"""What follows from a blueprint alone: start nodes, loop bodies, and the loops that enclose a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ALIASES = {"SubflowNode": "subflow", "WaitNode": "wait", "SleepNode": "sleep", "WebhookNode": "webhook"}
CONTROLLER = "loop-controller"


@dataclass(frozen=True)
class Node:
    """One node; `index` is its place in the blueprint."""

    index: int
    id: str
    kind: str
    params: Mapping[str, object]
    inputs: object
    config: Mapping[str, object]

    @property
    def fallback(self) -> str | None:
        """The node that takes over when this one fails."""
        name = self.config.get("fallback")
        return name if isinstance(name, str) and name else None

    @property
    def fires_on_any(self) -> bool:
        """Whether one taken edge is enough to start it."""
        return self.kind == CONTROLLER or self.config.get("joinStrategy") == "any"


@dataclass(frozen=True)
class Edge:
    """One edge; an empty action or condition counts as none, an empty transform is one."""

    index: int
    source: str
    target: str
    action: str | None
    condition: str | None
    transform: str | None


@dataclass
class Graph:
    """A blueprint with its loops worked out.

    Attributes:
        bodies: For each controller the ids in its loop, without the controller.
        loops_of: For each node the loops whose iteration numbers its key holds, outermost first. A controller's own
            loop is its last one.
    """

    id: str
    nodes: dict[str, Node]
    edges: list[Edge]
    entry_points: list[str]
    starts: list[str] = field(default_factory=list)
    fallbacks: set[str] = field(default_factory=set)
    bodies: dict[str, set[str]] = field(default_factory=dict)
    loops_of: dict[str, list[str]] = field(default_factory=dict)

    def steps(self, node: str) -> list[str]:
        """Where one step leads from a node; a fallback reference counts as an edge."""
        found = [edge.target for edge in self.edges if edge.source == node]
        named = self.nodes[node].fallback
        return [*found, named] if named is not None else found

    def reach(self, sources: Iterable[str], blocked: set[str]) -> set[str]:
        """What the sources reach, themselves included, without touching a blocked node."""
        seen: set[str] = set()
        waiting = list(sources)
        while waiting:
            node = waiting.pop()
            if node in seen or node in blocked or node not in self.nodes:
                continue
            seen.add(node)
            waiting.extend(self.steps(node))
        return seen

    def terminals(self) -> list[str]:
        """The nodes without outgoing edges; a fallback node is none."""
        sources = {edge.source for edge in self.edges}
        return [name for name in self.nodes if name not in sources and name not in self.fallbacks]


def read(blueprint: Mapping[str, object]) -> Graph:
    """Read a blueprint in its JSON form."""
    nodes: dict[str, Node] = {}
    for index, raw in enumerate(_objects(blueprint.get("nodes"))):
        kind = str(raw["uses"])
        node = Node(
            index,
            str(raw["id"]),
            ALIASES.get(kind, kind),
            _object(raw.get("params")),
            raw.get("inputs"),
            _object(raw.get("config")),
        )
        nodes[node.id] = node
    edges = [
        Edge(
            index,
            str(raw["source"]),
            str(raw["target"]),
            _text_or_none(raw.get("action")) or None,
            _text_or_none(raw.get("condition")) or None,
            _text_or_none(raw.get("transform")),
        )
        for index, raw in enumerate(_objects(blueprint.get("edges")))
    ]
    points = _object(blueprint.get("metadata")).get("cycleEntryPoints")
    graph = Graph(str(blueprint["id"]), nodes, edges, [str(p) for p in points] if isinstance(points, list) else [])
    graph.fallbacks = {node.fallback for node in nodes.values() if node.fallback is not None}
    graph.starts = _starts(graph)
    _find_loops(graph)
    return graph


def _starts(graph: Graph) -> list[str]:
    targets = {edge.target for edge in graph.edges}
    starts = [name for name in graph.nodes if name not in targets and name not in graph.fallbacks]
    if starts or not graph.nodes:
        return starts
    # Nothing but cycles: one node of each cycle starts, a chosen entry point if it has one.
    covered: set[str] = set()
    for name in graph.nodes:
        if name in covered or name in graph.fallbacks:
            continue
        cycle = {
            other for other in graph.reach(graph.steps(name), set()) if name in graph.reach(graph.steps(other), set())
        }
        if name not in cycle:
            continue
        chosen = [point for point in graph.entry_points if point in cycle]
        starts.append(chosen[0] if chosen else name)
        covered |= cycle
    return starts


def _find_loops(graph: Graph) -> None:
    controllers = [node.id for node in graph.nodes.values() if node.kind == CONTROLLER]
    for loop in controllers:
        dominating = {
            other for other in controllers if other != loop and loop not in graph.reach(graph.starts, {other})
        }
        blocked = {loop, *dominating}
        again = [edge.target for edge in graph.edges if edge.source == loop and edge.action == "continue"]
        away = [edge.target for edge in graph.edges if edge.source == loop and edge.action != "continue"]
        graph.bodies[loop] = graph.reach(again, blocked) - graph.reach(away, blocked)
    # What leaves the outer loop has left the inner one as well.
    for _ in controllers:
        for inner in controllers:
            for outer in controllers:
                if inner != outer and inner in graph.bodies[outer]:
                    graph.bodies[inner] &= graph.bodies[outer]
    depth = {loop: sum(loop in graph.bodies[other] for other in controllers) for loop in controllers}
    for name in graph.nodes:
        around = sorted((loop for loop in controllers if name in graph.bodies[loop]), key=lambda loop: depth[loop])
        graph.loops_of[name] = [*around, name] if name in controllers else around


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
