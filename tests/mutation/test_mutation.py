"""Breaking a rule makes one of its conformance cases fail: the cases can tell right from wrong."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.conformance.cases import Case, load_cases
from flowcraft_dagster.testing.simulation import SimulationStalled
from tests.conformance.running import run_cases
from tests.mutation.changes import CHANGES
from tests.mutation.mutating import broken

FOLDER = Path(__file__).resolve().parents[1] / "conformance"
# What the expression evaluator alone keeps; its own tests are in tests/unit/engine/expression.
EVALUATOR = {
    f"expressions.{name}"
    for name in (
        *("comparison", "equality", "logic", "arithmetic", "text", "conditional", "member", "literals"),
        *("precedence", "paths", "member-of-nothing", "absence", "doubles", "lazy"),
    )
}
OPTIONS = RuntimeOptions(timer_seconds=0.05, max_iterations=50)
PATIENCE = 20.0
MAX_STEPS = 20_000


@cache
def _cases_by_rule() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for path in sorted((FOLDER / "cases").glob("*.json")):
        rules = [document["rule"] for document in json.loads(path.read_text(encoding="utf-8"))]
        for rule, case in zip(rules, load_cases(path), strict=True):
            assert isinstance(case, Case)
            found.setdefault(rule, []).append(case)
    return found


def _fails(cases: list[Case]) -> bool:
    try:
        return run_cases(cases, options=OPTIONS, patience=PATIENCE, max_steps=MAX_STEPS) != []
    except (AssertionError, KeyError, RecursionError, SimulationStalled, TypeError, ValueError):
        # Broken so thoroughly that nothing comes of it.
        return True


@pytest.fixture(autouse=True)
def keep_quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_rule_has_a_change_that_breaks_it() -> None:
    index = (FOLDER / "rules.md").read_text(encoding="utf-8")
    rules = set(re.findall(r"^\| `([\w.-]+)` \|", index, re.MULTILINE))
    assert rules - EVALUATOR == set(CHANGES)
    assert rules == set(_cases_by_rule())


@pytest.mark.parametrize("rule", CHANGES)
def test_breaking_a_rule_makes_one_of_its_cases_fail(rule: str) -> None:
    cases = _cases_by_rule()[rule][:12]
    assert not _fails(cases)
    with broken(*CHANGES[rule]):
        assert _fails(cases), f"no case of {rule} notices {CHANGES[rule]}"
    assert not _fails(cases[:1])
