"""Every conformance case passes in memory: our own, and the shared ones where their folder stands beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcraft_dagster.testing.conformance.cases import load_cases
from flowcraft_dagster.testing.conformance.report import ConformanceReport
from flowcraft_dagster.testing.conformance.runner import ConformanceOptions, ConformanceRunner

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "conformance" / "cases.json"
FILES = sorted((ROOT / "tests" / "conformance" / "cases").glob("*.json"))
if SHARED.exists():
    FILES.append(SHARED)


async def _run(path: Path) -> ConformanceReport:
    options = ConformanceOptions(backend="memory", side_by_side=16, case_seconds=30.0)
    return await ConformanceRunner(path, load_cases(path), options).run()


def _list_failures(report: ConformanceReport) -> str:
    return "\n".join(f"{outcome.name}: {outcome.difference}" for outcome in report.cases if not outcome.ok)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_all_cases_of_a_file_pass(path: Path) -> None:
    report = await _run(path)
    assert report.cases
    assert _list_failures(report) == ""
