"""The state an owner keeps is the one that anybody finds from the stored rows, after every commit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.engine.decide import RunState
from flowcraft_dagster.ports.state import StateStore
from flowcraft_dagster.runtime.commit import Committer, OwnedRun
from flowcraft_dagster.runtime.history import rebuild_state
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.conformance.cases import Case, load_cases, read_case
from tests.conformance import random_blueprints
from tests.conformance.running import run_cases

CASES = Path(__file__).resolve().parents[1] / "conformance" / "cases"


def describe(state: RunState) -> dict[str, Any]:
    """Everything that decides what happens next."""
    context = {key: state.context.read(key, state.version) for key in state.context.keys(state.version)}
    pending, opened = dict.fromkeys(state.pending), {key: fact.kind for key, fact in state.opened.items()}
    for key in state._retries:
        # An attempt that began after a delay is no fact; who reads the rows finds the delay that is over.
        if pending.pop(key, 0) is None:
            opened[key] = "retry"
    inputs = {}
    for key in pending:
        selection = state.select_input(state.pending[key])
        for name, arrival in (("default", selection.default), ("override", selection.override)):
            if arrival is not None:
                inputs[key, name] = (arrival.edge.index, arrival.value and arrival.value.data)
    return {
        "pending": sorted(pending),
        "opened": opened,
        "status": state.status if not state._retries else None,
        "failures": state.failures,
        "failed": state.failed_nodes,
        "skipped": state.skipped_nodes,
        "context": {key: value.peek() for key, value in context.items() if value is not None},
        "inputs": inputs,
        "batches": {key: (one.started, one.ended, one.failed) for key, one in state.batches.items()},
        "cancelling": state.is_cancelling,
    }


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compares the two states after every commit; counts the comparisons."""
    seen: list[str] = []
    flush = Committer.flush

    async def compare(committer: Committer, run: OwnedRun) -> None:
        await flush(committer, run)
        store: StateStore = committer._store
        stored = await store.load_run(run.run_id)
        assert stored is not None
        kept, found = describe(run.state), describe(rebuild_state(stored, run.blueprint))
        for key, value in kept.items():
            assert value is None or found[key] == value, f"{run.run_id}: {key} after commit {run.header.seq}"
        seen.append(run.run_id)

    monkeypatch.setattr(Committer, "flush", compare)
    return seen


@pytest.mark.parametrize("path", sorted(CASES.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("durability", ["node", "segment"])
def test_folding_gives_what_reading_everything_gives(path: Path, durability: Any, comparisons: list[str]) -> None:
    cases = [case for case in load_cases(path) if isinstance(case, Case)]
    options = RuntimeOptions(timer_seconds=0.01, durability=durability)
    assert run_cases(cases, random.Random(path.stem).randrange(100), options=options) == []
    assert len(comparisons) >= len(cases)


def test_new_random_blueprints_give_what_the_oracle_gives(comparisons: list[str]) -> None:
    drawn = [random_blueprints._draw(seed) for seed in range(50_000, 50_040)]
    cases = [read_case(index, case) for index, case in enumerate(drawn) if case is not None]
    ready = [case for case in cases if isinstance(case, Case)]
    assert len(ready) >= 10
    for seed in (1, 2, 3):
        assert run_cases(ready, seed) == []
    assert len(comparisons) > 3 * len(ready)
