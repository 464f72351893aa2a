from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flowcraft_dagster.backends.memory import MemoryBackend
from flowcraft_dagster.errors import AppLoadError, SettingsError
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.bench.measure import describe_seconds
from flowcraft_dagster.testing.bench.raw import measure_raw_commits
from flowcraft_dagster.testing.bench.usage import read_usage
from flowcraft_dagster.testing.bench.workloads import find_references, find_workload, make_blueprint


@pytest.mark.parametrize(
    ("name", "nodes", "edges"),
    [
        ("chain5", 5, 4),
        ("chain:1", 1, 0),
        ("chain:300", 300, 299),
        ("diamond", 4, 4),
        ("fan50", 52, 100),
        ("fan:3", 5, 6),
    ],
)
def test_blueprints_have_their_shapes(name: str, nodes: int, edges: int) -> None:
    blueprint = make_blueprint(name)
    assert (len(blueprint.nodes), len(blueprint.edges)) == (nodes, edges)


@pytest.mark.parametrize("name", ["", "chain", "chain:0", "chain:99999", "fan:x", "ring"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        make_blueprint(name)


async def test_references_come_from_memory() -> None:
    workload = find_workload("chain5", context_bytes=2048)
    (reference,) = await find_references(workload, 3)
    assert (reference.status, reference.nodes) == ("completed", 5)
    assert reference.outputs == {f"n{number}": number for number in range(1, 6)}
    assert len(workload.contexts[0]["ballast"]) == 2048


def test_moderation_needs_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AppLoadError, match=r"posts\.jsonl|cannot import"):
        find_workload("moderation")


async def test_the_raw_rate_counts_commits_that_applied() -> None:
    backend = MemoryBackend(SystemClock())
    began = time.perf_counter()
    rate = await measure_raw_commits(backend.state, 100)
    took = time.perf_counter() - began
    stored = [await backend.state.load_run(run_id) for run_id in list(backend.state.runs)]
    assert [run.header.seq for run in stored if run is not None and run.header.is_final] == [2] * 100
    # The clock does not run for longer than the whole took.
    assert rate >= 100 / took


def test_usage_of_this_process_grows() -> None:
    before = read_usage([os.getpid()])
    assert before is not None
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    after = read_usage([os.getpid()])
    assert after is not None
    assert after.cpu_seconds - before.cpu_seconds >= 0.03
    assert after.peak_bytes > 1_000_000


def test_usage_of_a_process_that_is_gone_is_unknown() -> None:
    assert read_usage([2**22 + 1]) is None


def test_percentiles_are_by_nearest_rank() -> None:
    assert describe_seconds([number / 1000 for number in range(1, 101)]) == {"p50": 50.0, "p99": 99.0}
    assert describe_seconds([0.004]) == {"p50": 4.0, "p99": 4.0}
