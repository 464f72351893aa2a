"""Mermaid diagrams of blueprints and runs."""

from __future__ import annotations

import html
import re

import pytest

from flowcraft_dagster.blueprint import Blueprint, EdgeSpec, Flow, NodeSpec, RunPicture, draw_mermaid, parse_blueprint


def make_flow() -> Flow:
    return (
        Flow("f")
        .node("get", "fetch", fallback="spare")
        .node("spare", "fetch")
        .loop("again", start="get", end="get", condition="n < 3")
        .batch("each", "worker", input_key="get")
        .subflow("child", "401")
        .wait("ask")
        .sleep("nap", "5m")
        .webhook("hook")
        .edge("again", "each")
        .edge("each", "child")
        .edge("ask", "nap", action="yes", condition="result.output > 1", transform="input.x")
    )


def test_a_blueprint() -> None:
    assert draw_mermaid(make_flow().build()) == (
        "flowchart TD\n"
        '    n0["get"]\n'
        '    n1["spare"]\n'
        '    n2{"again<br/>params#58; {#34;condition#34;#58;#34;n #60; 3#34;}"}\n'
        '    n3[/"each_scatter<br/>params#58; '
        '{#34;workerUsesKey#34;#58;#34;worker#34;,#34;gatherNodeId#34;#58;#34;each_gather#34;}"\\]\n'
        '    n4[\\"each_gather<br/>params#58; {#34;gatherNodeId#34;#58;#34;each_gather#34;}"/]\n'
        '    n5[["child<br/>params#58; {#34;blueprintId#34;#58;#34;401#34;}"]]\n'
        '    n6(["ask"])\n'
        '    n7(["nap<br/>params#58; {#34;duration#34;#58;#34;5m#34;}"])\n'
        '    n8(["hook"])\n'
        '    n2 -- "break | context[#34;_inputs.again#34;]" --> n3\n'
        "    n4 --> n5\n"
        "    n0 --> n2\n"
        '    n2 -- "continue | context[#34;_inputs.again#34;]" --> n0\n'
        "    n3 --> n4\n"
        '    n6 -- "yes | result.output #62; 1 | input.x" --> n7\n'
        '    n0 -. "fallback" .-> n1\n'
    )


def test_a_run() -> None:
    blueprint = Flow("f").node("a", "k").node("b", "k").node("c", "k").node("d", "wait").edge("a", "b").edge("b", "c")
    picture = RunPicture(
        finished=frozenset({"a", "b", "d", "gone"}),
        failed=frozenset({"b", "c"}),
        waiting=frozenset({"d"}),
        taken_edges=frozenset({1, 7}),
        counts={"a": 1, "b": 3, "gone": 9},
    )
    assert draw_mermaid(blueprint.build(), picture) == (
        "flowchart TD\n"
        '    n0["a"]\n'
        '    n1["b<br/>3 times"]\n'
        '    n2["c"]\n'
        '    n3(["d"])\n'
        "    n0 --> n1\n"
        "    n1 --> n2\n"
        "    style n0 fill:#d4edda,stroke:#c3e6cb,color:#1b1e21\n"
        "    style n1 fill:#d4edda,stroke:#c3e6cb,color:#1b1e21\n"
        "    style n2 fill:#f8d7da,stroke:#f5c6cb,color:#1b1e21\n"
        "    style n3 fill:#fff3cd,stroke:#ffeeba,color:#1b1e21\n"
        "    linkStyle 1 stroke:#007bff,stroke-width:3px\n"
    )


def test_an_empty_blueprint() -> None:
    assert draw_mermaid(Blueprint("b", ())) == 'flowchart TD\n    empty["Empty blueprint"]\n'


def test_edges_that_cannot_be_drawn_do_not_shift_the_taken_ones() -> None:
    edges = (EdgeSpec("nosuch", "a"), EdgeSpec("a", "b"), EdgeSpec("b", "a"))
    blueprint = Blueprint("b", (NodeSpec("a", "k"), NodeSpec("b", "k")), edges)
    drawn = draw_mermaid(blueprint, RunPicture(taken_edges=frozenset({0, 2})))
    assert re.findall(r"n\d --> n\d|linkStyle \d", drawn) == ["n0 --> n1", "n1 --> n0", "linkStyle 1"]


@pytest.mark.parametrize(
    "name",
    [
        'quote " in it',
        "two\nlines",
        "`markdown`",
        "style a:#fff;stroke:#000;",
        "%%{init: {}}%%",
        "$$x^2$$",
        "<script>alert(1)</script>",
        "&lt;#quot;",
        'n1"] --> n0["',
        "end",
        "日本語 é ß",
        "back\\slash",
    ],
)
def test_no_name_breaks_the_diagram(name: str) -> None:
    nodes = [{"id": name, "uses": "k", "params": {"p": name}}, {"id": "z", "uses": "k"}]
    edge = {"source": name, "target": "z", "action": name, "condition": name}
    lines = draw_mermaid(parse_blueprint({"id": "b", "nodes": nodes, "edges": [edge]})).splitlines()
    assert len(lines) == 4
    label = re.fullmatch(r'    n0\["([^"`%$<>\\:\n]*)<br/>params#58; ([^"`%$<>\\:\n]*)"\]', lines[1])
    assert label is not None, lines[1]
    link = re.fullmatch(r'    n0 -- "([^"`%$<>\\:\n]*)" --> n1', lines[3])
    assert link is not None, lines[3]
    shown = name.replace("\n", "\\n")
    assert decode(label[1]) == shown
    assert decode(link[1]) == f"{shown} | {shown}"


def decode(label: str) -> str:
    """A label as Mermaid shows it."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


def test_long_parameters_are_cut() -> None:
    prompt = "Tell me. " * 500
    nodes = [{"id": "a", "uses": "k", "params": {"prompt": prompt}}]
    blueprint = parse_blueprint(
        {"id": "b", "nodes": nodes, "edges": [{"source": "a", "target": "a", "condition": prompt}]}
    )
    drawn = decode(draw_mermaid(blueprint))
    assert max(map(len, drawn.splitlines())) < 130
    assert drawn.count("…") == 2
