"""The linter's word on joins against runs of random blueprints by a naive interpreter."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcraft_dagster.blueprint import Blueprint, EdgeSpec, NodeConfig, NodeSpec, lint_blueprint

ACTIONS = (None, "x", "y")

Choose = Callable[[str], tuple[bool, str | None]]
"""Whether a node fails, and the action it returns otherwise."""


@st.composite
def acyclic_blueprints(draw: st.DrawFn) -> Blueprint:
    """Up to eight nodes, edges from earlier to later ones, now and then a fallback of one or two nodes."""
    count = draw(st.integers(2, 8))
    ids = [f"n{index}" for index in range(count)]
    edges = draw(
        st.lists(
            st.builds(
                lambda ends, action: EdgeSpec(ids[min(ends)], ids[max(ends)], action),
                st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda ends: ends[0] != ends[1]),
                st.sampled_from(ACTIONS),
            ),
            max_size=14,
        )
    )
    nodes = []
    for index, node_id in enumerate(ids):
        later = draw(st.sampled_from([None, None, None, *ids[index + 1 :]]))
        join = draw(st.sampled_from(["all", "all", "any"]))
        nodes.append(NodeSpec(node_id, "echo", config=NodeConfig(fallback=later, join_strategy=join)))
    return Blueprint("b", tuple(nodes), tuple(edges))


def run_naively(blueprint: Blueprint, choose: Choose) -> tuple[set[str], set[str]]:
    """Run an acyclic blueprint in the order of its nodes, by design section 4; the nodes that started and failed."""
    owners: dict[str, list[str]] = {}
    for node in blueprint.nodes:
        if node.config.fallback is not None:
            owners.setdefault(node.config.fallback, []).append(node.id)
    taken: set[int] = set()
    started: set[str] = set()
    failed: set[str] = set()

    def route(sources: list[str], action: str | None) -> None:
        candidates = [(i, edge) for i, edge in enumerate(blueprint.edges) if edge.source in sources]
        chosen = [i for i, edge in candidates if action is not None and edge.action == action]
        taken.update(chosen or [i for i, edge in candidates if edge.action is None])

    def execute(node_id: str, inherited: list[str], activation: str) -> None:
        started.add(node_id)
        fails, action = choose(activation)
        if not fails:
            route([node_id, *inherited], action)
            return
        failed.add(node_id)
        fallback = blueprint.by_id[node_id].config.fallback
        if fallback is not None:
            execute(fallback, [node_id, *inherited], f"{fallback} for {activation}")

    for node in blueprint.nodes:
        incoming = [(i, edge) for i, edge in enumerate(blueprint.edges) if edge.target == node.id]
        arrived = {edge.source for i, edge in incoming if i in taken}
        enough = arrived if node.config.join_strategy == "any" else arrived == {edge.source for _, edge in incoming}
        if node.id not in owners and (not incoming or enough):
            execute(node.id, [], node.id)
    return started, failed


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(blueprint=acyclic_blueprints(), data=st.data())
def test_no_run_reaches_a_join_that_is_said_never_to_fire(blueprint: Blueprint, data: st.DataObject) -> None:
    issues = lint_blueprint(blueprint).issues
    dead = {issue.node_id for issue in issues if issue.code == "JOIN_NEVER_FIRES"}
    after_failure = {issue.node_id for issue in issues if issue.code == "JOIN_WAITS_FOR_FALLBACK"}
    for _ in range(8):
        chosen: dict[str, tuple[bool, str | None]] = {}

        def choose(activation: str, chosen: dict[str, tuple[bool, str | None]] = chosen) -> tuple[bool, str | None]:
            if activation not in chosen:
                chosen[activation] = (data.draw(st.integers(0, 3)) == 0, data.draw(st.sampled_from(ACTIONS)))
            return chosen[activation]

        started, failed = run_naively(blueprint, choose)
        assert not started & dead
        assert failed or not started & after_failure


def list_routes(blueprint: Blueprint) -> list[dict[str, str | None]]:
    """Every combination of actions the nodes can return."""
    routes: list[dict[str, str | None]] = [{}]
    for node in blueprint.nodes:
        routes = [{**route, node.id: action} for route in routes for action in ACTIONS]
    return routes


def test_all_dead_joins_of_plain_routers_are_found() -> None:
    """Where every join is ``all``, the linter finds exactly the joins that no choice of actions reaches."""
    found = 0
    for shape in range(3**5):
        actions = [ACTIONS[shape // 3**place % 3] for place in range(5)]
        ends = [("r", "a"), ("r", "b"), ("a", "j"), ("b", "j"), ("r", "j")]
        edges = tuple(EdgeSpec(*pair, action) for pair, action in zip(ends, actions, strict=True))
        blueprint = Blueprint("b", tuple(NodeSpec(name, "echo") for name in "rabj"), edges)
        reached = any(
            "j" in run_naively(blueprint, lambda node_id, route=route: (False, route[node_id]))[0]  # type: ignore[misc]
            for route in list_routes(blueprint)
        )
        codes = [issue.code for issue in lint_blueprint(blueprint).issues]
        assert codes == ([] if reached else ["JOIN_NEVER_FIRES"])
        found += not reached
    assert 0 < found < 3**5
