"""Every conformance case passes in memory: our own, and the shared ones where they stand beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.conformance.cases import Case, MalformedCase, load_cases
from tests.conformance.running import run_cases

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "conformance" / "cases.json"
FILES = sorted((ROOT / "tests" / "conformance" / "cases").glob("*.json"))
if SHARED.exists():
    FILES.append(SHARED)


def _load(path: Path) -> list[Case]:
    loaded = load_cases(path)
    assert [case.reason for case in loaded if isinstance(case, MalformedCase)] == []
    return [case for case in loaded if isinstance(case, Case)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_all_cases_of_a_file_pass(path: Path) -> None:
    cases = _load(path)
    assert cases
    assert run_cases(cases) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_all_cases_of_a_file_pass_in_random_orders(path: Path) -> None:
    cases = _load(path)
    assert [wrong for seed in (1, 2) for wrong in run_cases(cases, seed)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_all_cases_of_a_file_pass_with_segment_durability(path: Path) -> None:
    cases = _load(path)
    assert run_cases(cases, options=RuntimeOptions(timer_seconds=0.01, durability="segment")) == []
