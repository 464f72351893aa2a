"""The linter's word on joins against runs of random blueprints by a naive interpreter."""

from __future__ import annotations

import random
from collections.abc import Callable

from flowcraft_dagster.blueprint import Blueprint, EdgeSpec, NodeConfig, NodeSpec, lint_blueprint
from flowcraft_dagster.blueprint.model import JoinStrategy

ACTIONS = (None, "x", "y")

Choose = Callable[[str], tuple[bool, str | None]]
"""Whether a node fails, and the action it returns otherwise."""


def make_blueprint(rng: random.Random) -> Blueprint:
    """Three to eight nodes, edges from earlier to later ones, now and then a fallback of one or two nodes."""
    ids = [f"n{index}" for index in range(rng.randint(3, 8))]
    ends = [sorted(rng.sample(range(len(ids)), 2)) for _ in range(rng.randint(3, 12))]
    edges = tuple(EdgeSpec(ids[low], ids[high], rng.choice(ACTIONS)) for low, high in ends)
    nodes = []
    for index, node_id in enumerate(ids):
        fallback = rng.choice(ids[index + 1 :]) if rng.random() < 0.1 and index + 1 < len(ids) else None
        join: JoinStrategy = "any" if rng.random() < 0.25 else "all"
        nodes.append(NodeSpec(node_id, "echo", config=NodeConfig(fallback=fallback, join_strategy=join)))
    return Blueprint("b", tuple(nodes), edges)


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


def test_no_run_reaches_a_join_that_is_said_never_to_fire() -> None:
    rng = random.Random(20)
    dead_joins = after_failures = 0
    for _ in range(2500):
        blueprint = make_blueprint(rng)
        issues = lint_blueprint(blueprint).issues
        dead = {issue.node_id for issue in issues if issue.code == "JOIN_NEVER_FIRES"}
        after_failure = {issue.node_id for issue in issues if issue.code == "JOIN_WAITS_FOR_FALLBACK"}
        for _ in range(20 if dead or after_failure else 0):
            started, failed = run_naively(blueprint, lambda _: (rng.random() < 0.2, rng.choice(ACTIONS)))
            assert not started & dead
            assert failed or not started & after_failure
        dead_joins += len(dead)
        after_failures += len(after_failure)
    assert dead_joins > 300
    assert after_failures > 30


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
