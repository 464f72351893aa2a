"""Run a case and say what it gives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.oracle.graph import read
from tests.oracle.run import Run
from tests.oracle.state import CaseError, Setting
from tests.oracle.values import UNDEFINED, plain, same


def judge(
    case: Mapping[str, object],
    *,
    chance: random.Random | None = None,
    early_timers: bool = False,
    loop_limit: int = 10_000,
) -> dict[str, object]:
    """Interpret a case.

    Args:
        case: A case in the conformance format.
        chance: Picks the order of what may happen in any order; without it the order is fixed.
        early_timers: Let sleeps fire while there is other work and in any order, not only when the case says so.
        loop_limit: Iterations that a loop may have.

    Returns:
        What the case's `expect` should hold, every key given.

    Raises:
        CaseError: An answer in `resume` fits nothing.
    """
    run, first = _played(case, chance, early_timers=early_timers, loop_limit=loop_limit)
    return _result(run, first)


def _played(
    case: Mapping[str, object], chance: random.Random | None, *, early_timers: bool, loop_limit: int
) -> tuple[Run, str]:
    blueprints = case["blueprints"]
    context = case["context"]
    if not isinstance(blueprints, dict) or not isinstance(context, dict):
        raise CaseError("a case needs blueprints and a context")
    run = Run(Setting(blueprints, loop_limit, chance), str(case["entry"]), context)
    _settle(run, chance, early_timers=early_timers)
    first = run.status()
    resume = case.get("resume")
    for step in resume if isinstance(resume, list) else []:
        if early_timers and chance is not None and "timer" in step:
            _fire_some(run, chance)
        _apply(run, step, early_timers=early_timers)
        _settle(run, chance, early_timers=early_timers)
    return run, first


def awaited(case: Mapping[str, object]) -> list[tuple[str, str]]:
    """Name what a case still awaits after its `resume`: paths such as `a/b`, each with the kind of its node."""
    run, _ = _played(case, None, early_timers=False, loop_limit=10_000)
    return [] if run.status() != "awaiting" else list(_open(run, ""))


def _open(run: Run, prefix: str) -> Iterator[tuple[str, str]]:
    for act in run.activations:
        if act.state == "open" and act.child is not None:
            yield from _open(act.child, f"{prefix}{act.node.id}/")
        elif act.state == "open":
            yield f"{prefix}{act.node.id}", act.node.kind


def differences(case: Mapping[str, object], actual: Mapping[str, object]) -> list[str]:
    """Name every key of the case's `expect` whose value differs, with both values."""
    expected = case["expect"]
    if not isinstance(expected, dict):
        raise CaseError("a case needs expectations")
    hidden = set() if case.get("category") == "improved" else _mapped_subflows(case)
    found: list[str] = []
    for key, value in expected.items():
        given = actual.get(key)
        if key == "outputs" and isinstance(given, dict):
            given = {name: output for name, output in given.items() if name not in hidden}
        if not same(value, given):
            found.append(f"{key}: expected {value!r}, got {given!r}")
    return found


def _mapped_subflows(case: Mapping[str, object]) -> set[str]:
    # The peer gives these nodes the child's whole context; only `improved` cases hold our own rule.
    blueprints = case["blueprints"]
    graph = read(blueprints[str(case["entry"])] if isinstance(blueprints, dict) else {})
    return {node.id for node in graph.nodes.values() if node.kind == "subflow" and node.params.get("outputs")}


def _settle(run: Run, chance: random.Random | None, *, early_timers: bool) -> None:
    while True:
        moves = run.moves()
        if not moves:
            return
        if early_timers:
            moves += run.timers()
        (chance.choice(moves) if chance is not None else moves[0])()


def _fire_some(run: Run, chance: random.Random) -> None:
    while chance.random() < 0.5:
        timers = run.timers()
        if not timers:
            return
        chance.choice(timers)()
        _settle(run, chance, early_timers=True)


def _apply(run: Run, step: Mapping[str, object], *, early_timers: bool) -> None:
    if run.status() != "awaiting":
        if early_timers and "timer" in step:
            return
        raise CaseError(f"the run is {run.status()} and needs no {step!r}")
    if "cancel" in step:
        run.cancel()
        return
    found = run.answer(str(step["node"]).split("/"))
    if found is None:
        if early_timers and "timer" in step:
            return
        raise CaseError(f"nothing is open for {step!r}")
    owner, act = found
    if ("timer" in step) != (act.node.kind == "sleep"):
        raise CaseError(f"{step!r} does not suit a {act.node.kind}")
    action = step.get("action")
    owner.end(act, step.get("output", UNDEFINED), str(action) if action is not None else None)


def _result(run: Run, first: str) -> dict[str, object]:
    ids = set(run.graph.nodes)
    started = Counter(act.node.id for act in run.activations)
    reached = {taken.edge.target for taken in run.taken}
    context = {key: value for key, value in run.context.items() if not key.startswith("_") and key not in ids}
    found: dict[str, object] = {
        "first_status": first,
        "status": run.status(),
        "outputs": run.outputs(),
        "context": context,
        "executions": dict(started),
        "failed_nodes": sorted({act.node.id for act in run.activations if act.state == "failed"}),
        "batch_workers": run.workers,
        "skipped_nodes": sorted(reached - set(started)),
    }
    shown = plain(found)
    return shown if isinstance(shown, dict) else found
