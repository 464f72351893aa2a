"""Pictures of blueprints and runs as SVG. The Dagster UI shows no Mermaid, but images in data URIs.

Text goes in escaped, colours are chosen for light and dark backgrounds alike, and a picture over a size is left out
rather than cut.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from typing import Final

from flowcraft_dagster.blueprint import Blueprint, EdgeSpec, NodeSpec, RunPicture
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.picture_layout import BOX_HEIGHT, Box, Layout, Line, lay_out

MOST_NODES: Final = 80
"""Nodes of a blueprint that is still drawn: more cannot be read."""

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
        The document; empty for a blueprint without nodes or with more than ``MOST_NODES``.

    Example:
        >>> from flowcraft_dagster.blueprint import parse_blueprint
        >>> draw_svg(parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "echo"}]}))[:4]
        '<svg'
    """
    if not 0 < len(blueprint.nodes) <= MOST_NODES:
        return ""
    picture = picture or RunPicture()
    labels = {node.id: _label_node(node, picture.counts.get(node.id, 0)) for node in blueprint.nodes}
    widths = {
        node_id: PADDING + CHARACTER_WIDTH * max(len(name), 0.85 * len(kind))
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
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
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
    for line in sorted(layout.lines, key=lambda line: line.edge in picture.taken_edges):
        yield _draw_line(line, line.edge is not None and line.edge in picture.taken_edges)
    for line in layout.lines:
        yield from _draw_line_label(line, None if line.edge is None else blueprint.edges[line.edge])
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


def _draw_line_label(line: Line, edge: EdgeSpec | None) -> Iterator[str]:
    text = "fallback" if edge is None else edge.action or edge.condition or ""
    if not text:
        return
    (x, y), (to_x, to_y) = line.points[-2:]
    if line.leads_back:
        place_x, place_y = to_x + 32, to_y - 4
    elif len(line.points) > 2:
        # A long edge has a place of its own where it passes the next layer.
        place_x, place_y = line.points[1]
    else:
        # Nearer to the target: edges of one node start together but end apart.
        place_x, place_y = x + (to_x - x) * 0.85, y + (to_y - y) * 0.66 + 3
    yield (
        f'<text x="{place_x:.1f}" y="{place_y:.1f}" text-anchor="middle" font-size="10.5" fill="#57606a"'
        f' stroke="#ffffff" stroke-width="3" paint-order="stroke">{_escape(_cut(text, EDGE_LABEL_LENGTH))}</text>'
    )


def _label_node(node: NodeSpec, count: int) -> tuple[str, str]:
    kind = _cut(node.uses, LABEL_LENGTH)
    return _cut(node.id, LABEL_LENGTH), f"{kind} · {count} times" if count > 1 else kind


def _choose_colours(node_id: str, picture: RunPicture) -> tuple[str, str]:
    if node_id in picture.waiting:
        return _WAITING
    if node_id in picture.finished:
        return _FINISHED
    return _FAILED if node_id in picture.failed else _PLAIN


def _cut(text: str, limit: int) -> str:
    shown = one_line(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
