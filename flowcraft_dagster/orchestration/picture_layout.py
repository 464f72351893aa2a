"""Where the boxes and lines of a blueprint's picture go: layers from top to bottom.

The usual steps of layered drawing: leave out edges that lead back, put every node below its sources, break long edges
into points of the layers they cross, order the layers by the mean place of their neighbours, and spread them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from flowcraft_dagster.blueprint import Blueprint, analyze_blueprint
from flowcraft_dagster.blueprint.graph import BlueprintGraph
from flowcraft_dagster.orchestration.picture_lines import (
    BOX_HEIGHT,
    Box,
    Line,
    choose_bends,
    choose_lanes,
    lead_back,
    lead_on,
)

ROUNDS: Final = 6
GAP_X: Final = 28.0
GAP_Y: Final = 54.0
POINT_WIDTH: Final = 8.0
MARGIN: Final = 14.0
WIDEST: Final = 1100.0
"""A wider layer goes on in a further row: a picture is shown about 760 pixels wide, and is to be read there."""

WRAP_GAP: Final = 16.0
"""Between the rows of one layer; more where lines lead back, which turn there."""

LABEL_SPACE: Final = 6.0
"""Above the outermost turn of lines that lead back to the first layer."""


@dataclass(frozen=True)
class Layout:
    """A picture's geometry in pixels."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    lines: Sequence[Line]


@dataclass
class _Place:
    """Something in a layer: a node, or a point where a long edge passes."""

    width: float
    layer: int
    x: float = 0.0


def find_back_edges(blueprint: Blueprint) -> set[tuple[str, str]]:
    """Edges, as source and target, that close a cycle, fallbacks among them; without them there is none.

    A depth-first search from where runs begin, so that a loop's way back is found and not its way in.
    """
    graph = BlueprintGraph(blueprint)
    starts = [*analyze_blueprint(blueprint).entry_node_ids, *(node.id for node in blueprint.nodes)]
    back: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in starts:
        if start in done:
            continue
        trail = [(start, iter(graph.successors[start]))]
        path = {start}
        while trail:
            node_id, targets = trail[-1]
            target = next(targets, None)
            if target is None:
                trail.pop()
                path.discard(node_id)
                done.add(node_id)
            elif target in path:
                back.add((node_id, target))
            elif target not in done:
                path.add(target)
                trail.append((target, iter(graph.successors[target])))
    return back


def lay_out(blueprint: Blueprint, widths: Mapping[str, float]) -> Layout:
    """Place a blueprint's nodes and edges.

    Args:
        blueprint: the blueprint.
        widths: width of each node's box in pixels, by node id.
    """
    back = find_back_edges(blueprint)
    pairs = _list_pairs(blueprint)
    forward = [pair for pair in pairs if pair not in back]
    layers = _find_layers(blueprint, forward)
    places: dict[tuple[str, ...], _Place] = {
        (node_id,): _Place(widths[node_id], layer) for node_id, layer in layers.items()
    }
    chains: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for source, target in forward:
        chain: list[tuple[str, ...]] = [(source,)]
        for layer in range(layers[source] + 1, layers[target]):
            chain.append((source, target, str(layer)))
            places[chain[-1]] = _Place(POINT_WIDTH, layer)
        chain.append((target,))
        chains[source, target] = chain
    closing = [pair for pair in pairs if pair in back]
    layered = [_wrap(row, places) for row in _order(places, list(chains.values()))]
    rows = [row for wrapped in layered for row in wrapped]
    _spread(rows, places, list(chains.values()))
    left = min((place.x - place.width / 2 for place in places.values()), default=0.0)
    right = max((place.x + place.width / 2 for place in places.values()), default=0.0) - left
    bends = choose_bends(closing, layers)
    space_above = max((bends[pair] + LABEL_SPACE for pair in closing if layers[pair[1]] == 0), default=0.0)
    space_below = max((bends[pair] for pair in closing if layers[pair[0]] == len(layered) - 1), default=0.0)
    heights, lowest = _stack(layered, MARGIN + space_above, GAP_Y if closing else WRAP_GAP)

    def at(key: tuple[str, ...]) -> tuple[float, float]:
        place = places[key]
        return place.x - left + MARGIN, heights[key]

    boxes = {key[0]: Box(*at(key), place.width) for key, place in places.items() if len(key) == 1}
    lanes = choose_lanes(closing, boxes, right + MARGIN)
    lines = []
    for pair, edges in pairs.items():
        if pair in back:
            lines += lead_back(pair, edges, boxes, lanes[pair], bends[pair])
        else:
            lines += lead_on(pair, edges, boxes, [at(key) for key in chains[pair][1:-1]])
    return Layout(
        width=max([right + MARGIN, *lanes.values()]) + MARGIN,
        height=lowest + space_below + MARGIN,
        boxes=boxes,
        lines=lines,
    )


def _list_pairs(blueprint: Blueprint) -> dict[tuple[str, str], list[int | None]]:
    """Places of the edges in the blueprint by source and target; None for a fallback."""
    pairs: dict[tuple[str, str], list[int | None]] = {}
    known = blueprint.by_id
    for index, edge in enumerate(blueprint.edges):
        if edge.source in known and edge.target in known:
            pairs.setdefault((edge.source, edge.target), []).append(index)
    for node_id, targets in BlueprintGraph(blueprint).successors.items():
        for target in targets:
            pairs.setdefault((node_id, target), [None])
    return pairs


def _find_layers(blueprint: Blueprint, forward: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The length of the longest path to each node."""
    layers = {node.id: 0 for node in blueprint.nodes}
    targets: dict[str, list[str]] = {node_id: [] for node_id in layers}
    waiting = dict.fromkeys(layers, 0)
    for source, target in forward:
        targets[source].append(target)
        waiting[target] += 1
    ready = [node_id for node_id, count in waiting.items() if count == 0]
    while ready:
        node_id = ready.pop()
        for target in targets[node_id]:
            layers[target] = max(layers[target], layers[node_id] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return layers


Chains = Sequence[Sequence[tuple[str, ...]]]


def _neighbours(chains: Chains) -> tuple[dict[tuple[str, ...], list[tuple[str, ...]]], ...]:
    above: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    below: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _order(places: Mapping[tuple[str, ...], _Place], chains: Chains) -> list[list[tuple[str, ...]]]:
    """Layers in which neighbours stand near each other."""
    rows: list[list[tuple[str, ...]]] = [[] for _ in range(1 + max((p.layer for p in places.values()), default=-1))]
    for key, place in places.items():
        rows[place.layer].append(key)
    above, below = _neighbours(chains)
    for turn in range(ROUNDS):
        links = below if turn % 2 else above
        position = {key: index for row in rows for index, key in enumerate(row)}
        for row in reversed(rows) if turn % 2 else rows:
            means = {
                key: sum(position[other] for other in links[key]) / len(links[key]) if links.get(key) else position[key]
                for key in row
            }
            row.sort(key=means.__getitem__)
            position.update({key: index for index, key in enumerate(row)})
    return rows


def _wrap(row: list[tuple[str, ...]], places: Mapping[tuple[str, ...], _Place]) -> list[list[tuple[str, ...]]]:
    """A layer as rows, none of which is too wide; all about as wide as each other."""
    total = sum(places[key].width + GAP_X for key in row)
    limit = max(total / math.ceil(total / WIDEST) + GAP_X, *(places[key].width + GAP_X for key in row))
    wrapped: list[list[tuple[str, ...]]] = [[]]
    width = 0.0
    for key in row:
        width += places[key].width + GAP_X
        if width > limit and wrapped[-1]:
            wrapped.append([])
            width = places[key].width + GAP_X
        wrapped[-1].append(key)
    return wrapped


def _stack(
    layered: Sequence[Sequence[Sequence[tuple[str, ...]]]], top: float, gap: float
) -> tuple[dict[tuple[str, ...], float], float]:
    """The middle of everything from above, and where the lowest row ends.

    Args:
        layered: the rows of each layer.
        top: where the first row begins.
        gap: between rows of one layer.
    """
    heights = {}
    for wrapped in layered:
        for row in wrapped:
            heights.update(dict.fromkeys(row, top + BOX_HEIGHT / 2))
            top += BOX_HEIGHT + gap
        top += GAP_Y - gap
    return heights, top - GAP_Y


def _spread(rows: Sequence[list[tuple[str, ...]]], places: Mapping[tuple[str, ...], _Place], chains: Chains) -> None:
    """Give every place an x: near the mean of its neighbours, without overlaps."""
    for row in rows:
        _settle(row, places, dict.fromkeys(row, 0.0))
    above, below = _neighbours(chains)
    for turn in range(ROUNDS):
        links = below if turn % 2 else above
        for row in reversed(rows) if turn % 2 else rows:
            wanted = {
                key: sum(places[other].x for other in links[key]) / len(links[key]) if links.get(key) else places[key].x
                for key in row
            }
            _settle(row, places, wanted)


def _settle(
    row: Sequence[tuple[str, ...]], places: Mapping[tuple[str, ...], _Place], wanted: Mapping[tuple[str, ...], float]
) -> None:
    """Move a layer to where it wants to be, from left to right, then shift it so that it lies evenly around that."""
    edge = float("-inf")
    for key in row:
        place = places[key]
        place.x = max(wanted[key], edge + place.width / 2)
        edge = place.x + place.width / 2 + GAP_X
    if row:
        shift = sum(wanted[key] - places[key].x for key in row) / len(row)
        for key in row:
            places[key].x += shift
