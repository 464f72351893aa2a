"""``conformance`` and ``bench`` with real worker processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command_line import ROOT, CommandLine, await_true


def _case(name: str, nodes: list[dict[str, Any]], edges: list[tuple[str, str]], **parts: Any) -> dict[str, Any]:
    blueprint = {"nodes": nodes, "edges": [{"source": source, "target": target} for source, target in edges]}
    return {"name": name, "category": "own", "entry": "main", "blueprints": {"main": blueprint}, "context": {}, **parts}


def _make_cases(count: int) -> list[dict[str, Any]]:
    chain = [{"id": f"n{number}", "uses": "add"} for number in range(4)]
    batch: list[dict[str, Any]] = [
        {
            "id": "s",
            "uses": "batch-scatter",
            "inputs": "list",
            "params": {"workerUsesKey": "square", "gatherNodeId": "g"},
        },
        {"id": "g", "uses": "batch-gather"},
    ]
    kinds = [
        _case(
            "chain",
            chain,
            [("n0", "n1"), ("n1", "n2"), ("n2", "n3")],
            expect={
                "first_status": "completed",
                "status": "completed",
                "outputs": {"n0": 1, "n1": 2, "n2": 3, "n3": 4},
                "executions": {"n0": 1, "n1": 1, "n2": 1, "n3": 1},
            },
        ),
        _case(
            "wait",
            [{"id": "w", "uses": "wait"}, {"id": "e", "uses": "echo"}],
            [("w", "e")],
            resume=[{"node": "w", "output": "x"}],
            expect={"first_status": "awaiting", "status": "completed", "outputs": {"w": "x", "e": "x"}},
        ),
        _case(
            "batch",
            batch,
            [("s", "g")],
            expect={"status": "completed", "batch_workers": 2, "executions": {"s": 1, "g": 1}},
        )
        | {"context": {"list": [2, 3]}},
    ]
    return [{**kinds[number % 3], "name": f"{kinds[number % 3]['name']}-{number}"} for number in range(count)]


def _write(path: Path, cases: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(cases))
    return path


def _list_workers() -> set[int]:
    """Process ids of workers of the conformance runner, of whoever may have started them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--end-with-stdin" in words:
            found.add(int(folder.name))
    return found


def test_cases_run_in_worker_processes_and_are_reported(alone: CommandLine, tmp_path: Path) -> None:
    cases = _write(tmp_path / "cases.json", _make_cases(9))
    report = tmp_path / "out.json"
    outcome = alone("conformance", cases, "--workers", "2", "--report", report)
    assert outcome.out == "9 passed, 0 failed\n"
    written = json.loads(report.read_text())
    assert (written["passed"], written["failed"], written["killed"]) == (9, 0, 0)
    assert [case["name"] for case in written["cases"]] == [case["name"] for case in _make_cases(9)]
    assert {tuple(case) for case in written["cases"]} == {("name", "category", "ok", "difference", "got")}
    assert written["cases"][1]["got"] == {
        "first_status": "awaiting",
        "status": "completed",
        "outputs": {"w": "x", "e": "x"},
    }
    assert not alone.home.exists()


@pytest.mark.parametrize("backend", ["memory", "embedded"])
def test_a_wrong_expectation_and_a_malformed_case_fail(backend: str, alone: CommandLine, tmp_path: Path) -> None:
    wrong, malformed, right = _make_cases(3)
    wrong["expect"] = {**wrong["expect"], "outputs": {"n0": 1}}
    malformed["entry"] = "nowhere"
    cases = _write(tmp_path / "cases.json", [wrong, malformed, right])
    outcome = alone("conformance", cases, "--backend", backend, "--json", code=1)
    assert [case["ok"] for case in outcome.json["cases"]] == [False, False, True]
    shown = alone("conformance", cases, "--backend", "memory", code=1).out.splitlines()
    assert shown[0].startswith("FAILED own chain-0: outputs: {n1: expected nothing, got 2; ")
    assert shown[1] == "FAILED own wait-1: malformed case: entry 'nowhere' is none of its blueprints"
    assert shown[2] == "1 passed, 2 failed"


def test_killed_workers_change_no_result(alone: CommandLine, tmp_path: Path) -> None:
    cases = _write(tmp_path / "cases.json", _make_cases(24))
    report = alone("conformance", cases, "--workers", "2", "--kill-interval", "0.5", "--json").json
    assert (report["passed"], report["failed"]) == (24, 0)
    assert report["killed"] >= 2


def test_in_memory_there_is_nothing_to_kill(alone: CommandLine, tmp_path: Path) -> None:
    cases = _write(tmp_path / "cases.json", _make_cases(1))
    line = alone.refuse("conformance", cases, "--backend", "memory", "--kill-interval", "1", code=2)
    assert "no worker to kill" in line


def test_a_file_without_cases_is_refused(alone: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text("{}")
    assert "is not a JSON list of cases" in alone.refuse("conformance", path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_program_that_started_them(
    number: signal.Signals, alone: CommandLine, tmp_path: Path
) -> None:
    slow = [_case("slow", [{"id": "a", "uses": "slow", "params": {"ms": 600_000}}], [], expect={"status": "completed"})]
    cases = _write(tmp_path / "cases.json", slow)
    others = _list_workers()
    process = subprocess.Popen(
        [sys.executable, "-m", "flowcraft_dagster.cli", "conformance", str(cases), "--keep", str(tmp_path / "kept")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**alone.environment, "FLOWCRAFT_DRAIN_SECONDS": "0.1"},
    )
    with process:
        await_true(lambda: (tmp_path / "kept" / "starts.jsonl").exists() or process.poll() is not None)
        own = {pid for pid in _list_workers() - others if _parent(pid) == process.pid}
        assert len(own) == 1
        process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    assert "Traceback" not in shown
    await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in own))
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert shown.split() == ["interrupted"]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_workers_that_cannot_start_are_no_riddle(alone: CommandLine, tmp_path: Path) -> None:
    cases = _write(tmp_path / "cases.json", _make_cases(1))
    line = alone.refuse("conformance", cases, FLOWCRAFT_LOG_LEVEL="LOUD")
    assert "workers end as soon as they start, with code 2: error: setting FLOWCRAFT_LOG_LEVEL: 'LOUD'" in line


def test_bench_measures_what_it_says(alone: CommandLine) -> None:
    figures = alone("bench", "--blueprint", "chain5", "--runs", "40", "--workers", "2", "--json").json
    asked = {"backend": "embedded", "blueprint": "chain5", "runs": 40, "workers": 2}
    assert {name: figures[name] for name in asked} == asked
    assert (figures["durability"], figures["synchronous"]) == ("node", "FULL")
    assert figures["nodes"] == 200
    assert figures["runs_per_s"] == pytest.approx(40 / figures["seconds"], rel=0.01)
    assert figures["nodes_per_s"] == pytest.approx(200 / figures["seconds"], rel=0.01)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["seconds"] * 1000 + 50
    assert 0 < figures["idle_latency_ms"]["p50"] <= figures["idle_latency_ms"]["p99"]
    assert figures["raw_commits_per_s"] > 0
    assert figures["worker_cpu_seconds"] > 0
    assert figures["worker_peak_memory_mb"] > 10
    assert list(alone.home.iterdir()) == []


def test_bench_runs_every_kind_of_blueprint(alone: CommandLine) -> None:
    for name, nodes in (("diamond", 4), ("fan:5", 7)):
        figures = alone(
            "bench", "--blueprint", name, "--runs", "3", "--workers", "1", "--durability", "segment", "--json"
        )
        assert (figures.json["nodes"], figures.json["durability"]) == (3 * nodes, "segment")
    moderation = alone("bench", "--blueprint", "moderation", "--runs", "4", "--workers", "1", "--in-flight", "2")
    assert "nodes per s" in moderation.out
