"""The lines of a blueprint's picture: how they run between placed boxes, and where their labels stand.

Lines that lead on go straight down; those that lead back leave below their source, go up in a lane of their own at the
right side, and come in from above, so that no line passes behind a box of another node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BOX_HEIGHT: Final = 40.0
LANE_GAP: Final = 14.0
PARALLEL_GAP: Final = 14.0
"""Between lines with the same ends."""

BEND: Final = 12.0
"""How far below and above the boxes lines that lead back turn."""

BEND_STEP: Final = 11.0
"""Between neighbours: a label has room there."""

BENDS: Final = 3

Point = tuple[float, float]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Box:
    """A node's rectangle: its centre and width; all have the height ``BOX_HEIGHT``."""

    x: float
    y: float
    width: float

    @property
    def top(self) -> float:
        """The upper side."""
        return self.y - BOX_HEIGHT / 2

    @property
    def bottom(self) -> float:
        """The lower side."""
        return self.y + BOX_HEIGHT / 2


@dataclass(frozen=True)
class Line:
    """An edge or a fallback.

    Attributes:
        source, target: node ids.
        points: corners from the source's lower to the target's upper side.
        label_at: where the middle of its label stands.
        edge: the edge's place in the blueprint; None for a fallback and for a batch without an edge of its own.
        leads_back: whether it closes a cycle.
    """

    source: str
    target: str
    points: tuple[Point, ...]
    label_at: Point
    edge: int | None
    leads_back: bool


def choose_lanes(back: Sequence[Pair], boxes: Mapping[str, Box], right: float) -> dict[Pair, float]:
    """The x of each line that leads back; short ways lie inside, so that loops in loops do not cross.

    Args:
        back: sources and targets.
        boxes: the placed nodes.
        right: where the boxes end.
    """
    by_length = sorted(back, key=lambda pair: boxes[pair[0]].y - boxes[pair[1]].y)
    return {pair: right + LANE_GAP * (1.5 + number) for number, pair in enumerate(by_length)}


def choose_bends(back: Sequence[Pair], layers: Mapping[str, int]) -> dict[Pair, float]:
    """How far from the boxes each line that leads back turns; apart for those that turn between the same layers.

    Args:
        back: sources and targets.
        layers: of the nodes.
    """
    used: dict[int, int] = {}
    bends = {}
    for source, target in back:
        # Turns below a layer and above the next one share a space.
        spaces = (layers[source], layers[target] - 1)
        number = max(used.get(space, 0) for space in spaces)
        used.update(dict.fromkeys(spaces, number + 1))
        bends[source, target] = BEND + BEND_STEP * (number % BENDS)
    return bends


def lead_on(pair: Pair, edges: Sequence[int | None], boxes: Mapping[str, Box], corners: Sequence[Point]) -> list[Line]:
    """Lines downwards with the same ends, side by side.

    Args:
        pair: source and target.
        edges: see :class:`Line`; one line each.
        boxes: the placed nodes.
        corners: where they pass the layers between.
    """
    above, below = (boxes[node_id] for node_id in pair)
    widest = min(above.width, below.width) / 2 - 8
    lines = []
    for number, edge in enumerate(edges):
        shift = (number - (len(edges) - 1) / 2) * PARALLEL_GAP
        shift = max(-widest, min(widest, shift))
        passed = [(x + shift, y) for x, y in corners]
        points = ((above.x + shift, above.bottom), *passed, (below.x + shift, below.top))
        if passed:
            # A long edge has a place of its own where it passes the next layer.
            label_at = passed[0]
        else:
            (x, y), (to_x, to_y) = points[0], points[-1]
            # Nearer to the target: edges of one node start together but end apart. Parallel ones share the height.
            share = 0.66 if len(edges) == 1 else 0.3 + 0.45 * number / (len(edges) - 1)
            label_at = (x + (to_x - x) * (0.85 if len(edges) == 1 else share), y + (to_y - y) * share + 3)
        lines.append(Line(*pair, points, label_at, edge, leads_back=False))
    return lines


def lead_back(
    pair: Pair, edges: Sequence[int | None], boxes: Mapping[str, Box], lane: float, bend: float
) -> list[Line]:
    """Lines that close a cycle; those with the same ends lie on each other, with their labels in a column.

    Args:
        pair: source and target, which may be the same node.
        edges: see :class:`Line`; one line each.
        boxes: the placed nodes.
        lane: see :func:`choose_lanes`.
        bend: see :func:`choose_bends`.
    """
    above, below = (boxes[node_id] for node_id in pair)
    start, end = above.x + above.width / 4, below.x + below.width / 4
    points: tuple[Point, ...] = (
        (start, above.bottom),
        (start, above.bottom + bend),
        (lane, above.bottom + bend),
        (lane, below.top - bend),
        (end, below.top - bend),
        (end, below.top),
    )
    label = (end + (lane - end) / 2, below.top - bend - 4)
    return [Line(*pair, points, (label[0], label[1] - 11 * place), edge, True) for place, edge in enumerate(edges)]
