"""Pictures of blueprints and runs as SVG. The Dagster UI shows no Mermaid, but images in data URIs.

Text goes in escaped, colours are chosen for light and dark backgrounds alike, and a picture over a size is left out
rather than cut.
"""

from __future__ import annotations

import base64
import html
import unicodedata
from collections.abc import Iterator
from typing import Final

from flowcraft_dagster.blueprint import Blueprint, NodeSpec, RunPicture
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.picture_layout import Layout, lay_out
from flowcraft_dagster.orchestration.picture_lines import BOX_HEIGHT, Box, Line

MOST_NODES: Final = 80
"""Nodes of a blueprint that is still drawn: more cannot be read."""

MOST_EDGES: Final = 400
"""Edges likewise. Lines are laid out around each other, which takes seconds for thousands of them."""

SHOWN_WIDTH: Final = 760
"""The UI cuts off what is wider, and offers nothing to move it by."""

LABEL_LENGTH: Final = 26
EDGE_LABEL_LENGTH: Final = 22
CHARACTER_WIDTH: Final = 7.2
PADDING: Final = 26.0

_PLAIN: Final = ("#eef1f6", "#7a869a")
_FINISHED: Final = ("#d4edda", "#2f8f4e")
_FAILED: Final = ("#f8d7da", "#c0392b")
_WAITING: Final = ("#fff3cd", "#c58f00")
_TAKEN: Final = "#1f6feb"
_IDLE: Final = "#7a869a"


def draw_svg(blueprint: Blueprint, picture: RunPicture | None = None) -> str:
    """Draw a blueprint, or a run of it, as an SVG document.

    Args:
        blueprint: the blueprint.
        picture: what happened in a run: taken edges, finished, failed and waiting nodes, counts.

    Returns:
        The document; empty for a blueprint without nodes, with more than ``MOST_NODES`` or more than ``MOST_EDGES``.

    Example:
        >>> from flowcraft_dagster.blueprint import parse_blueprint
        >>> draw_svg(parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "echo"}]}))[:4]
        '<svg'
    """
    if not 0 < len(blueprint.nodes) <= MOST_NODES or len(blueprint.edges) > MOST_EDGES:
        return ""
    picture = picture or RunPicture()
    labels = {node.id: _label_node(node, picture.counts.get(node.id, 0)) for node in blueprint.nodes}
    widths = {
        node_id: PADDING + CHARACTER_WIDTH * max(_measure(name), 0.85 * _measure(kind))
        for node_id, (name, kind) in labels.items()
    }
    layout = lay_out(blueprint, widths)
    return "".join(_draw(blueprint, picture, layout, labels))


def embed_svg(svg: str, title: str, max_bytes: int) -> str:
    """An SVG document as markdown with a data URI; empty when there is none or it is over ``max_bytes``."""
    if not svg or len(svg.encode()) > max_bytes:
        return ""
    alternative = "".join(c if c.isalnum() or c in " -_." else " " for c in one_line(title))
    return f"![{alternative}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')})"


def _draw(
    blueprint: Blueprint, picture: RunPicture, layout: Layout, labels: dict[str, tuple[str, str]]
) -> Iterator[str]:
    width, height = round(layout.width), round(layout.height)
    shrink = min(1.0, SHOWN_WIDTH / width)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{round(width * shrink)}" height="{round(height * shrink)}"'
        f' viewBox="0 0 {width} {height}"'
        ' font-family="Inter,Helvetica,Arial,sans-serif">'
        f"<title>{_escape(one_line(blueprint.id))}</title><defs>"
    )
    for name, colour in (("idle", _IDLE), ("taken", _TAKEN)):
        yield (
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        )
    yield "</defs>"
    # White paper: the UI has a dark mode, and lines must be seen there too.
    yield f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    # Taken edges last, so that they lie on top.
    taken = [_is_taken(blueprint, line, picture) for line in layout.lines]
    for is_taken, line in sorted(zip(taken, layout.lines, strict=True), key=lambda pair: pair[0]):
        yield _draw_line(line, is_taken)
    for line in layout.lines:
        yield from _draw_label(line, _label_line(blueprint, line))
    for node in blueprint.nodes:
        yield _draw_box(layout.boxes[node.id], node, labels[node.id], picture)
    yield "</svg>"


def _draw_box(box: Box, node: NodeSpec, label: tuple[str, str], picture: RunPicture) -> str:
    fill, stroke = _choose_colours(node.id, picture)
    left, top = box.x - box.width / 2, box.y - BOX_HEIGHT / 2
    radius = BOX_HEIGHT / 2 if node.kind in ("wait", "sleep", "webhook") else 6 if node.kind is None else 14
    name, kind = (_escape(text) for text in label)
    return (
        f"<g><title>{_escape(one_line(node.id))}</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{BOX_HEIGHT:.0f}" rx="{radius:.0f}"'
        f' fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
        f'<text x="{box.x:.1f}" y="{box.y - 2:.1f}" text-anchor="middle" font-size="13" fill="#1b1e21">{name}</text>'
        f'<text x="{box.x:.1f}" y="{box.y + 13:.1f}" text-anchor="middle" font-size="10.5" fill="#57606a">{kind}</text>'
        "</g>"
    )


def _draw_line(line: Line, is_taken: bool) -> str:
    colour, name, width = (_TAKEN, "taken", 2.4) if is_taken else (_IDLE, "idle", 1.2)
    dashes = ' stroke-dasharray="5 4"' if line.edge is None else ""
    return (
        f'<path d="{_trace(line)}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}'
        f' marker-end="url(#{name})"/>'
    )


def _trace(line: Line) -> str:
    (x, y), *rest = line.points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        if line.leads_back:
            parts.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(parts)


def _is_taken(blueprint: Blueprint, line: Line, picture: RunPicture) -> bool:
    if line.edge is not None:
        return line.edge in picture.taken_edges
    reached = picture.finished | picture.failed | picture.waiting
    left = picture.failed if _is_fallback(blueprint, line) else picture.finished
    return line.source in left and line.target in reached


def _is_fallback(blueprint: Blueprint, line: Line) -> bool:
    """Otherwise a line without an edge leads from a batch's scatter to its gather."""
    return line.edge is None and blueprint.by_id[line.source].config.fallback == line.target


def _label_line(blueprint: Blueprint, line: Line) -> str:
    if line.edge is not None:
        edge = blueprint.edges[line.edge]
        return edge.action or edge.condition or ""
    return "fallback" if _is_fallback(blueprint, line) else ""


def _draw_label(line: Line, text: str) -> Iterator[str]:
    if not text:
        return
    x, y = line.label_at
    yield (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="10.5" fill="#57606a"'
        f' stroke="#ffffff" stroke-width="3" paint-order="stroke">{_escape(_cut(text, EDGE_LABEL_LENGTH))}</text>'
    )


def _label_node(node: NodeSpec, count: int) -> tuple[str, str]:
    kind = _cut(node.uses, LABEL_LENGTH)
    return _cut(node.id, LABEL_LENGTH), f"{kind} · {count} times" if count > 1 else kind


def _choose_colours(node_id: str, picture: RunPicture) -> tuple[str, str]:
    if node_id in picture.waiting:
        return _WAITING
    # One of several iterations that failed is what has to be seen.
    if node_id in picture.failed:
        return _FAILED
    return _FINISHED if node_id in picture.finished else _PLAIN


def _measure(text: str) -> int:
    """Width of a text in plain characters; Chinese and the like are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _cut(text: str, limit: int) -> str:
    shown = one_line(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
