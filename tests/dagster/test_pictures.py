"""Pictures: valid SVG for any blueprint, escaped, within limits, with what happened in a run."""

from __future__ import annotations

import base64
import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft_dagster.blueprint import RunPicture, parse_blueprint
from flowcraft_dagster.orchestration.picture_layout import find_back_edges, lay_out
from flowcraft_dagster.orchestration.picture_lines import BOX_HEIGHT
from flowcraft_dagster.orchestration.pictures import MOST_EDGES, MOST_NODES, SHOWN_WIDTH, draw_svg, embed_svg
from flowcraft_dagster.orchestration.presenter import Presenter

SVG = "{http://www.w3.org/2000/svg}"
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    ids = draw(st.lists(IDS, min_size=1, max_size=12, unique=True))
    edges = draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids), IDS), max_size=20))
    return {
        "id": draw(IDS),
        "nodes": [{"id": node_id, "uses": draw(IDS)} for node_id in ids],
        "edges": [{"source": source, "target": target, "action": action} for source, target, action in edges],
    }


@settings(max_examples=60, deadline=None)
@given(documents())
def test_any_blueprint_is_drawn_as_valid_xml_with_all_nodes_and_edges(document: dict[str, list[object]]) -> None:
    blueprint = parse_blueprint(document)
    root = ElementTree.fromstring(draw_svg(blueprint, RunPicture(counts={blueprint.nodes[0].id: 3})))  # noqa: S314

    assert len(root.findall(f"{SVG}g")) == len(blueprint.nodes)
    assert len(root.findall(f"{SVG}path")) == len(blueprint.edges)
    titles = [group.findtext(f"{SVG}title") for group in root.findall(f"{SVG}g")]
    assert len(set(titles)) == len(blueprint.nodes)


@settings(max_examples=60, deadline=None)
@given(documents())
def test_boxes_do_not_overlap_and_lie_inside(document: dict[str, object]) -> None:
    blueprint = parse_blueprint(document)
    layout = lay_out(blueprint, {node.id: 80.0 for node in blueprint.nodes})
    boxes = list(layout.boxes.values())

    for index, box in enumerate(boxes):
        assert box.x - box.width / 2 >= 0
        assert box.x + box.width / 2 <= layout.width
        assert BOX_HEIGHT / 2 <= box.y <= layout.height - BOX_HEIGHT / 2
        for other in boxes[index + 1 :]:
            assert box.y != other.y or abs(box.x - other.x) >= 80.0


@settings(max_examples=60, deadline=None)
@given(documents())
def test_no_line_that_leads_back_passes_a_box_and_all_lie_inside(document: dict[str, object]) -> None:
    blueprint = parse_blueprint(document)
    layout = lay_out(blueprint, {node.id: 80.0 for node in blueprint.nodes})
    for line in layout.lines:
        for x, y in line.points:
            assert 0 <= x <= layout.width
            assert 0 <= y <= layout.height
        if not line.leads_back:
            continue
        for (x, y), (to_x, to_y) in pairwise(line.points):
            for box in layout.boxes.values():
                beside = max(x, to_x) <= box.x - box.width / 2 or min(x, to_x) >= box.x + box.width / 2
                assert beside or max(y, to_y) <= box.top or min(y, to_y) >= box.bottom


def draw(document: dict[str, Any], picture: RunPicture | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(parse_blueprint(document), picture))  # noqa: S314


def test_edges_with_the_same_ends_are_seen_apart_with_their_labels() -> None:
    edges = [{"source": "a", "target": "b", "action": action} for action in ("approved", "refused", "later")]
    root = draw({"id": "x", "nodes": [{"id": "a", "uses": "u"}, {"id": "b", "uses": "u"}], "edges": edges})
    labels = root.findall(f"{SVG}text")

    assert len({path.get("d") for path in root.findall(f"{SVG}path")}) == 3
    assert [label.text for label in labels] == ["approved", "refused", "later"]
    heights = sorted(float(label.get("y", "")) for label in labels)
    assert all(lower - upper >= 10 for upper, lower in pairwise(heights))


def test_labels_of_edges_that_lead_back_to_one_node_are_seen_apart() -> None:
    nodes = [{"id": node_id, "uses": "u"} for node_id in "abc"]
    edges = [{"source": source, "target": target} for source, target in ("ab", "bc")]
    back = [{"source": source, "target": "a", "action": f"from {source}"} for source in "abc"]
    heights = sorted(
        float(label.get("y", ""))
        for label in draw({"id": "x", "nodes": nodes, "edges": edges + back}).iter(f"{SVG}text")
        if (label.text or "").startswith("from ")
    )

    assert len(heights) == 3
    assert all(lower - upper >= 10 for upper, lower in pairwise(heights))


@settings(max_examples=100, deadline=None)
@given(documents())
def test_without_back_edges_there_is_no_cycle(document: dict[str, object]) -> None:
    blueprint = parse_blueprint(document)
    left = {(edge.source, edge.target) for edge in blueprint.edges} - find_back_edges(blueprint)
    remaining = {node.id for node in blueprint.nodes}
    while remaining:
        free = {node_id for node_id in remaining if not any(s in remaining for s, t in left if t == node_id)}
        assert free
        remaining -= free


def test_a_run_colours_what_happened() -> None:
    blueprint = parse_blueprint(
        {
            "id": "x",
            "nodes": [{"id": name, "uses": "u"} for name in "abc"],
            "edges": [{"source": "a", "target": "b"}, {"source": "a", "target": "c"}],
        }
    )
    picture = RunPicture(finished=frozenset("a"), failed=frozenset("b"), taken_edges=frozenset({0}))
    root = ElementTree.fromstring(draw_svg(blueprint, picture))  # noqa: S314
    fills = {group.findtext(f"{SVG}title"): group.find(f"{SVG}rect").get("fill") for group in root.findall(f"{SVG}g")}  # type: ignore[union-attr]
    widths = [path.get("stroke-width") for path in root.findall(f"{SVG}path")]

    assert len(set(fills.values())) == 3
    # The taken edge is drawn last, on top.
    assert widths == ["1.2", "2.4"]


@pytest.mark.parametrize("count", [3, 40, 78])
def test_a_wide_layer_is_shown_in_rows_within_the_width_that_the_ui_shows(count: int) -> None:
    middle = [f"work_on_item_{n}" for n in range(count)]
    nodes = [{"id": node_id, "uses": "u"} for node_id in ("first", *middle, "last")]
    edges = [{"source": "first", "target": node_id} for node_id in middle]
    edges += [{"source": node_id, "target": "last"} for node_id in middle]
    root = draw({"id": "x", "nodes": nodes, "edges": edges})
    width, height = int(root.get("width", "")), int(root.get("height", ""))
    drawn_width, drawn_height = (int(number) for number in root.get("viewBox", "").split()[2:])

    assert width <= SHOWN_WIDTH
    # Nothing is drawn so small that it cannot be read, and nothing is distorted.
    assert drawn_width / width <= 1.6
    assert abs(width / height - drawn_width / drawn_height) < 0.02
    rows = {box.get("y") for box in root.iterfind(f"{SVG}g/{SVG}rect")}
    assert len(rows) <= 2 + math.ceil(count / 6)


def test_a_failed_iteration_is_seen_among_others_that_finished() -> None:
    picture = RunPicture(finished=frozenset("a"), failed=frozenset("a"), counts={"a": 3})
    root = draw({"id": "x", "nodes": [{"id": "a", "uses": "u"}]}, picture)
    (box,) = root.iterfind(f"{SVG}g/{SVG}rect")

    assert box.get("fill") == "#f8d7da"
    assert [text.text for text in root.iterfind(f"{SVG}g/{SVG}text")] == ["a", "u · 3 times"]


def test_the_way_to_a_fallback_is_coloured_when_it_was_taken() -> None:
    nodes: list[dict[str, Any]] = [{"id": "a", "uses": "u", "config": {"fallback": "b"}}, {"id": "b", "uses": "u"}]
    document = {"id": "x", "nodes": nodes}
    (idle,) = draw(document).findall(f"{SVG}path")
    (taken,) = draw(document, RunPicture(failed=frozenset("a"), finished=frozenset("b"))).findall(f"{SVG}path")

    assert (idle.get("stroke"), taken.get("stroke")) == ("#7a869a", "#1f6feb")
    assert [text.text for text in draw(document).findall(f"{SVG}text")] == ["fallback"]


def test_a_batch_without_an_edge_of_its_own_is_no_fallback() -> None:
    nodes = [
        {"id": "s", "uses": "batch-scatter", "params": {"gatherNodeId": "g", "workerUsesKey": "u"}},
        {"id": "g", "uses": "batch-gather", "params": {"gatherNodeId": "g"}},
    ]
    root = draw({"id": "x", "nodes": nodes}, RunPicture(finished=frozenset("sg")))

    assert root.findall(f"{SVG}text") == []
    assert [path.get("stroke") for path in root.findall(f"{SVG}path")] == ["#1f6feb"]


def test_wide_characters_have_room() -> None:
    def measure(node_id: str) -> float:
        (box,) = draw({"id": "x", "nodes": [{"id": node_id, "uses": "u"}]}).iterfind(f"{SVG}g/{SVG}rect")
        return float(box.get("width", ""))

    assert measure("検査する投稿") == measure("a" * 12)


def test_what_is_too_large_is_left_out() -> None:
    many = parse_blueprint({"id": "x", "nodes": [{"id": str(n), "uses": "u"} for n in range(MOST_NODES + 1)]})
    one = parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "u"}]})

    assert draw_svg(many) == ""
    assert embed_svg(draw_svg(one), "x", 100) == ""
    assert Presenter(max_picture_bytes=100).show_blueprint(one) == ""


def test_a_picture_of_too_many_edges_is_not_begun() -> None:
    edges = [{"source": str(a), "target": str(b)} for a in range(MOST_NODES) for b in range(a + 1, MOST_NODES)]
    nodes = [{"id": str(n), "uses": "u"} for n in range(MOST_NODES)]

    assert draw_svg(parse_blueprint({"id": "x", "nodes": nodes, "edges": edges[: MOST_EDGES + 1]})) == ""
    drawn = draw_svg(parse_blueprint({"id": "x", "nodes": nodes, "edges": edges[:MOST_EDGES]}))
    # What is not begun would be left out in the end.
    assert embed_svg(drawn, "x", Presenter().max_picture_bytes) == ""


def test_the_image_is_a_data_uri_whose_title_cannot_break_the_markdown() -> None:
    one = parse_blueprint({"id": "](x)![", "nodes": [{"id": "a", "uses": "u"}]})
    text = Presenter().show_blueprint(one)

    assert text.startswith("![")
    alternative, _, rest = text[2:].partition("](data:image/svg+xml;base64,")
    assert not set("[]()!") & set(alternative)
    assert base64.b64decode(rest.removesuffix(")")).startswith(b"<svg")
