"""Pictures: valid SVG for any blueprint, escaped, within limits, with what happened in a run."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft_dagster.blueprint import RunPicture, parse_blueprint
from flowcraft_dagster.orchestration.picture_layout import BOX_HEIGHT, find_back_edges, lay_out
from flowcraft_dagster.orchestration.pictures import MOST_NODES, draw_svg, embed_svg
from flowcraft_dagster.orchestration.presenter import Presenter, hide_secrets

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


def test_what_is_too_large_is_left_out() -> None:
    many = parse_blueprint({"id": "x", "nodes": [{"id": str(n), "uses": "u"} for n in range(MOST_NODES + 1)]})
    one = parse_blueprint({"id": "x", "nodes": [{"id": "a", "uses": "u"}]})

    assert draw_svg(many) == ""
    assert embed_svg(draw_svg(one), "x", 100) == ""
    assert Presenter(max_picture_bytes=100).show_blueprint(one) == ""


def test_the_image_is_a_data_uri_whose_title_cannot_break_the_markdown() -> None:
    one = parse_blueprint({"id": "](x)![", "nodes": [{"id": "a", "uses": "u"}]})
    text = Presenter().show_blueprint(one)

    assert text.startswith("![")
    alternative, _, rest = text[2:].partition("](data:image/svg+xml;base64,")
    assert not set("[]()!") & set(alternative)
    assert base64.b64decode(rest.removesuffix(")")).startswith(b"<svg")


def test_large_and_secret_values_are_cut_and_hidden() -> None:
    shown = Presenter(max_bytes=50).show_value("outputs", {"text": "x" * 100})
    secret = Presenter().show_value("outputs", {"a": {"password": "p"}, "b": [{"Authorization": "t"}]})

    assert len(str(shown.value)) < 150
    assert secret.value == {"a": {"password": "[redacted]"}, "b": [{"Authorization": "[redacted]"}]}
    assert hide_secrets("token", None) is None
