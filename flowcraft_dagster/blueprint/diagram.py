"""Mermaid flowcharts of blueprints and of runs.

Nodes get generated identifiers and quoted labels in which everything but plain characters is an entity, so no id,
parameter or expression can break the diagram.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import orjson

from flowcraft_dagster.blueprint.fields import shorten
from flowcraft_dagster.blueprint.model import Blueprint, EdgeSpec, NodeSpec
from flowcraft_dagster.errors import one_line

_LABEL_LENGTH: Final = 80
"""Characters of parameters and of each expression that are shown."""

_PLAIN: Final = frozenset(" _-.,/()[]{}=+*?!|'@^~")
"""Characters besides letters and digits that Mermaid takes literally in a quoted label. Not among them are the colon
(``style...:...#...;`` is read as a style even there and loses a character), the per cent sign (directives) and the
dollar sign (formulas)."""

_SHAPES: Final[Mapping[str | None, tuple[str, str]]] = MappingProxyType(
    {
        None: ("[", "]"),
        "loop-controller": ("{", "}"),
        "subflow": ("[[", "]]"),
        "batch-scatter": ("[/", "\\]"),
        "batch-gather": ("[\\", "/]"),
        "wait": ("([", "])"),
        "sleep": ("([", "])"),
        "webhook": ("([", "])"),
    }
)
"""Brackets around the label, by built-in kind."""

_FINISHED: Final = "fill:#d4edda,stroke:#c3e6cb,color:#1b1e21"
_FAILED: Final = "fill:#f8d7da,stroke:#f5c6cb,color:#1b1e21"
_WAITING: Final = "fill:#fff3cd,stroke:#ffeeba,color:#1b1e21"
_TAKEN: Final = "stroke:#007bff,stroke-width:3px"


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What of a run is drawn into its blueprint. Unknown nodes and edges are passed over.

    Attributes:
        finished: ids of nodes that finished.
        failed: ids of nodes that failed; one that finished too is drawn as finished.
        waiting: ids of nodes that wait now; this goes before the other two.
        taken_edges: positions in ``blueprint.edges`` of the edges that were taken.
        counts: how often nodes ran; shown where it is more than once.
    """

    finished: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    taken_edges: frozenset[int] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)


def draw_mermaid(blueprint: Blueprint, picture: RunPicture | None = None) -> str:
    """Draw a blueprint, or a run of it, as a Mermaid flowchart.

    Args:
        blueprint: the blueprint.
        picture: what happened in a run; None draws the blueprint alone.

    Returns:
        Mermaid text, a statement a line.

    Example:
        >>> from flowcraft_dagster.blueprint.parse import parse_blueprint
        >>> print(draw_mermaid(parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "echo"}]})), end="")
        flowchart TD
            n0["a"]
    """
    lines = _draw(blueprint, picture or RunPicture()) if blueprint.nodes else ['empty["Empty blueprint"]']
    return "".join(f"{line}\n" for line in ("flowchart TD", *(f"    {line}" for line in lines)))


def _draw(blueprint: Blueprint, picture: RunPicture) -> Iterator[str]:
    names = {node.id: f"n{index}" for index, node in enumerate(blueprint.nodes)}
    for node in blueprint.nodes:
        opening, closing = _SHAPES[node.kind]
        yield f'{names[node.id]}{opening}"{_label_node(node, picture.counts.get(node.id, 0))}"{closing}'
    # Mermaid numbers links by their order, so an edge that is not drawn moves the numbers of those behind it.
    drawn = [(i, e) for i, e in enumerate(blueprint.edges) if e.source in names and e.target in names]
    for _, edge in drawn:
        label = _label_edge(edge)
        arrow = f'-- "{label}" -->' if label else "-->"
        yield f"{names[edge.source]} {arrow} {names[edge.target]}"
    for node in blueprint.nodes:
        if node.config.fallback in names:
            yield f'{names[node.id]} -. "fallback" .-> {names[node.config.fallback]}'
    for node in blueprint.nodes:
        style = _choose_style(node.id, picture)
        if style is not None:
            yield f"style {names[node.id]} {style}"
    for number, (index, _) in enumerate(drawn):
        if index in picture.taken_edges:
            yield f"linkStyle {number} {_TAKEN}"


def _label_node(node: NodeSpec, count: int) -> str:
    lines = [node.id]
    if node.params:
        lines.append(f"params: {_cut(orjson.dumps(dict(node.params)).decode())}")
    if count > 1:
        lines.append(f"{count} times")
    return "<br/>".join(_escape(line) for line in lines)


def _label_edge(edge: EdgeSpec) -> str:
    return _escape(" | ".join(_cut(part) for part in (edge.action, edge.condition, edge.transform) if part))


def _choose_style(node_id: str, picture: RunPicture) -> str | None:
    if node_id in picture.waiting:
        return _WAITING
    if node_id in picture.finished:
        return _FINISHED
    return _FAILED if node_id in picture.failed else None


def _cut(text: str) -> str:
    return shorten(text, _LABEL_LENGTH)


def _escape(text: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in one_line(text))
