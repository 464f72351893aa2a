"""Cycles, starts, ends and loop bodies."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from flowcraft_dagster.blueprint import Blueprint, EdgeSpec, NodeConfig, NodeSpec, analyze_blueprint
from flowcraft_dagster.blueprint.analysis import MAX_CYCLES, Analysis, find_loop_bodies
from flowcraft_dagster.blueprint.graph import BlueprintGraph, find_components, find_dominators


def make_blueprint(
    edges: str,
    *,
    nodes: str = "",
    loops: str = "",
    fallbacks: dict[str, str] | None = None,
    entries: tuple[str, ...] = (),
) -> Blueprint:
    """A blueprint from edges such as ``"a-b b-c:again"``; the part behind the colon is the action.

    Nodes come in the order in which they are named, those of ``nodes`` first.
    """
    found = nodes.split()
    specs = []
    for text in edges.split():
        ends, _, action = text.partition(":")
        source, target = ends.split("-")
        found += [source, target]
        specs.append(EdgeSpec(source, target, action=action or None))
    fallbacks = fallbacks or {}
    kinds = dict.fromkeys(loops.split(), "loop-controller")
    return Blueprint(
        "b",
        tuple(
            NodeSpec(name, kinds.get(name, "echo"), config=NodeConfig(fallback=fallbacks.get(name)))
            for name in dict.fromkeys(found)
        ),
        tuple(specs),
        {"cycleEntryPoints": list(entries)} if entries else {},
    )


def test_an_empty_blueprint_is_a_dag() -> None:
    assert analyze_blueprint(Blueprint("b", ())) == Analysis((), (), (), (), 0, 0, True)


def test_a_diamond() -> None:
    assert analyze_blueprint(make_blueprint("a-b a-c b-d c-d", nodes="lone")) == Analysis(
        cycles=(),
        start_node_ids=("lone", "a"),
        terminal_node_ids=("lone", "d"),
        entry_node_ids=("lone", "a"),
        node_count=5,
        edge_count=4,
        is_dag=True,
    )


@pytest.mark.parametrize(
    ("edges", "cycles"),
    [
        ("a-a", [("a", "a")]),
        ("a-b b-a", [("a", "b", "a")]),
        ("a-b b-a b-c b-d", [("a", "b", "a")]),
        ("a-b a-b b-a b-a:x", [("a", "b", "a")]),
        ("s-a a-b b-c c-a c-b", [("a", "b", "c", "a"), ("b", "c", "b")]),
        ("a-b b-a c-d d-c", [("a", "b", "a"), ("c", "d", "c")]),
        ("a-b b-c a-c", []),
    ],
)
def test_each_cycle_is_reported_once(edges: str, cycles: list[tuple[str, ...]]) -> None:
    analysis = analyze_blueprint(make_blueprint(edges))
    assert list(analysis.cycles) == cycles
    assert analysis.is_dag is (not cycles)


def test_edges_to_unknown_nodes_are_no_hindrance() -> None:
    blueprint = Blueprint(
        "b", (NodeSpec("a", "u"), NodeSpec("b", "u")), (EdgeSpec("x", "a"), EdgeSpec("b", "y"), EdgeSpec("y", "b"))
    )
    analysis = analyze_blueprint(blueprint)
    assert analysis.is_dag
    assert analysis.edge_count == 3
    assert analysis.start_node_ids == ()
    assert analysis.terminal_node_ids == ("a",)


def test_a_run_does_not_begin_at_a_fallback_or_a_gather() -> None:
    assert analyze_blueprint(make_blueprint("a-b", nodes="f", fallbacks={"a": "f"})).entry_node_ids == ("a",)
    scatter = NodeSpec("s", "batch-scatter", {"workerUsesKey": "w", "gatherNodeId": "g"})
    analysis = analyze_blueprint(Blueprint("b", (scatter, NodeSpec("g", "batch-gather"))))
    assert analysis.start_node_ids == ("s", "g")
    assert analysis.entry_node_ids == ("s",)


@pytest.mark.parametrize(
    ("edges", "entries", "expected"),
    [
        ("a-b b-a", (), ("a",)),
        ("a-b b-a", ("b",), ("b",)),
        ("a-b b-a c-d d-c", ("d",), ("a", "d")),
        ("a-b b-c c-a c-b", ("c",), ("c",)),
        ("s-a a-b b-a", ("b",), ("s",)),
        ("a-b b-a", ("nosuch",), ("a",)),
    ],
)
def test_where_a_run_begins_if_all_nodes_lie_on_cycles(
    edges: str, entries: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert analyze_blueprint(make_blueprint(edges, entries=entries)).entry_node_ids == expected


def test_very_many_cycles_are_cut_off_but_none_loses_its_entry() -> None:
    count = MAX_CYCLES + 5
    analysis = analyze_blueprint(make_blueprint(" ".join(f"a{i}-b{i} b{i}-a{i}" for i in range(count))))
    assert len(analysis.cycles) == MAX_CYCLES
    assert analysis.entry_node_ids == tuple(f"a{i}" for i in range(count))


def test_a_long_chain_is_no_problem() -> None:
    count = 10_000
    edges = " ".join(f"n{i}-n{i + 1}" for i in range(count - 1))
    analysis = analyze_blueprint(make_blueprint(f"{edges} n{count - 1}-n0"))
    assert [len(cycle) for cycle in analysis.cycles] == [count + 1]


def find_bodies(blueprint: Blueprint) -> dict[str, set[str]]:
    entries = analyze_blueprint(blueprint).entry_node_ids
    return {loop: set(body) for loop, body in find_loop_bodies(BlueprintGraph(blueprint), entries).items()}


@pytest.mark.parametrize(
    ("edges", "loops", "bodies"),
    [
        ("s-l l-a:continue a-b b-l l-z:break", "l", {"l": {"a", "b"}}),
        # What the way out reaches is no body, even if the body reaches it too.
        ("s-l l-a:continue a-l a-z l-z:break", "l", {"l": {"a"}}),
        ("s-l l-a:continue a-b b-l l-y:break y-b", "l", {"l": {"a"}}),
        # A side branch of the body belongs to it.
        ("s-l l-a:continue a-l a-log l-z:break", "l", {"l": {"a", "log"}}),
        # Nested: the outer body contains the inner loop, the inner one stops at the outer controller.
        (
            "s-o o-a:continue a-i i-b:continue b-i i-c:break c-o o-z:break",
            "o i",
            {"o": {"a", "i", "b", "c"}, "i": {"b"}},
        ),
        # What leaves the outer loop has left the inner one too.
        (
            "s-o o-i:continue i-a:continue a-i a-z:x i-c:break c-o o-z:break",
            "o i",
            {"o": {"i", "a", "c"}, "i": {"a"}},
        ),
        # One after the other.
        ("s-l l-a:continue a-l l-m:break m-b:continue b-m m-z:break", "l m", {"l": {"a"}, "m": {"b"}}),
        # Into the body from outside.
        ("s-l l-a:continue s-b a-b b-l l-z:break", "l", {"l": {"a", "b"}}),
        ("s-l l-l:continue l-z:break", "l", {"l": set()}),
    ],
)
def test_loop_bodies(edges: str, loops: str, bodies: dict[str, set[str]]) -> None:
    assert find_bodies(make_blueprint(edges, loops=loops)) == bodies


def test_a_fallback_belongs_to_the_body_unless_the_way_out_reaches_it() -> None:
    edges = "s-l l-a:continue a-l l-z:break"
    assert find_bodies(make_blueprint(edges, loops="l", fallbacks={"a": "f"}, nodes="f"))["l"] == {"a", "f"}
    fallbacks = {"a": "f", "z": "f"}
    assert find_bodies(make_blueprint(edges, loops="l", fallbacks=fallbacks, nodes="f"))["l"] == {"a"}


def test_the_fallback_of_a_controller_is_a_way_out() -> None:
    edges = "s-l l-a:continue a-f f-l l-z:break"
    assert find_bodies(make_blueprint(edges, loops="l"))["l"] == {"a", "f"}
    assert find_bodies(make_blueprint(edges, loops="l", fallbacks={"l": "f"}))["l"] == {"a"}


def test_components_are_the_groups_that_reach_each_other() -> None:
    rng = random.Random(7)
    for _ in range(200):
        ids = [str(number) for number in range(rng.randint(1, 7))]
        follow = {node: [other for other in ids if rng.random() < 0.25] for node in ids}
        reached = {node: reach(follow, node) for node in ids}
        expected = []
        for node in ids:
            group = [other for other in ids if other in reached[node] and node in reached[other]]
            if group and group[0] == node:
                expected.append(group)
        assert find_components(ids, follow.__getitem__) == expected


def test_dominators_lie_on_every_path() -> None:
    rng = random.Random(8)
    for _ in range(200):
        ids = [str(number) for number in range(rng.randint(1, 7))]
        follow = {node: [other for other in ids if rng.random() < 0.3] for node in ids}
        starts = rng.sample(ids, rng.randint(1, min(2, len(ids))))
        found = find_dominators(starts, follow)
        assert set(found) == set(starts).union(*(reach(follow, start) for start in starts))
        for node in found:
            above = []
            current = found[node]
            while current is not None:
                above.append(current)
                current = found[current]
            needed = {other for other in found if other != node and not is_reached(follow, starts, node, other)}
            assert set(above) == needed


def reach(follow: dict[str, list[str]], start: str, avoid: str | None = None) -> set[str]:
    """Nodes at the end of a path of one edge or more."""
    seen: set[str] = set()
    pending = [start]
    while pending:
        for target in follow[pending.pop()]:
            if target not in seen and target != avoid:
                seen.add(target)
                pending.append(target)
    return seen


def is_reached(follow: dict[str, list[str]], starts: list[str], node: str, avoid: str) -> bool:
    return any(start != avoid and (start == node or node in reach(follow, start, avoid)) for start in starts)


def test_the_order_of_nodes_does_not_change_whether_there_are_cycles() -> None:
    for order in permutations("abcd"):
        assert not analyze_blueprint(make_blueprint("a-b b-c c-b c-d", nodes=" ".join(order))).is_dag
        assert analyze_blueprint(make_blueprint("a-b b-c a-c c-d", nodes=" ".join(order))).is_dag
