from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.engine.node import Event
from flowcraft_dagster.testing.conformance.cases import load_cases
from flowcraft_dagster.testing.conformance.report import ConformanceReport
from flowcraft_dagster.testing.conformance.runner import ConformanceOptions, ConformanceRunner
from flowcraft_dagster.testing.conformance.tally import RUN_PREFIX, TallyFile, TallyWriter

Document = dict[str, Any]


def _blueprint(nodes: list[Document], *edges: tuple[str, str]) -> Document:
    return {"nodes": nodes, "edges": [{"source": source, "target": target} for source, target in edges]}


def _case(
    name: str, blueprints: dict[str, Document], expect: Document, resume: list[Document] | None = None
) -> Document:
    document = {
        "name": name,
        "category": "own",
        "entry": "main",
        "blueprints": blueprints,
        "context": {"n": 4},
        "expect": expect,
    }
    return document if resume is None else {**document, "resume": resume}


CHAIN = _blueprint([{"id": "a", "uses": "add", "inputs": "n"}, {"id": "b", "uses": "add"}], ("a", "b"))
WAIT = _blueprint([{"id": "w", "uses": "wait"}, {"id": "e", "uses": "echo"}], ("w", "e"))
NAP = _blueprint([{"id": "s", "uses": "sleep", "params": {"duration": 30}}, {"id": "e", "uses": "echo"}], ("s", "e"))
PARENT = _blueprint([{"id": "p", "uses": "subflow", "params": {"blueprintId": "child"}}])
FLAKY = _blueprint([{"id": "f", "uses": "flaky", "params": {"times": 2, "value": 1}, "config": {"maxRetries": 3}}])
BATCH = _blueprint(
    [
        {
            "id": "s",
            "uses": "batch-scatter",
            "inputs": "list",
            "params": {"workerUsesKey": "square", "gatherNodeId": "g"},
        },
        {"id": "g", "uses": "batch-gather"},
    ],
    ("s", "g"),
)


async def _run(tmp_path: Path, *cases: Any) -> ConformanceReport:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    return await ConformanceRunner(path, load_cases(path), ConformanceOptions("memory", case_seconds=20)).run()


async def test_a_case_passes_when_everything_is_as_expected(tmp_path: Path) -> None:
    expect = {
        "first_status": "completed",
        "status": "completed",
        "outputs": {"a": 5, "b": 6},
        "context": {"n": 4},
        "executions": {"a": 1, "b": 1},
        "failed_nodes": [],
        "batch_workers": 0,
        "skipped_nodes": [],
    }
    report = await _run(tmp_path, _case("chain", {"main": CHAIN}, expect))
    assert report.to_json() == {
        "passed": 1,
        "failed": 0,
        "killed": 0,
        "cases": [{"name": "chain", "category": "own", "ok": True, "difference": None, "got": expect}],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "failed"},
        {"first_status": "awaiting"},
        {"outputs": {"a": 5, "b": 7}},
        {"outputs": {"a": 5}},
        {"context": {}},
        {"executions": {"a": 1, "b": 2}},
        {"executions": {"a": 1}},
        {"failed_nodes": ["a"]},
        {"batch_workers": 1},
        {"skipped_nodes": ["b"]},
        {"unheard_of": 1},
    ],
)
async def test_a_wrong_expectation_fails_and_is_named(wrong: Document, tmp_path: Path) -> None:
    report = await _run(tmp_path, _case("chain", {"main": CHAIN}, {"status": "completed", **wrong}))
    (outcome,) = report.cases
    assert not outcome.ok
    assert str(outcome.difference).startswith(f"{next(iter(wrong))}: ")


async def test_got_has_the_keys_of_expect(tmp_path: Path) -> None:
    report = await _run(tmp_path, _case("chain", {"main": CHAIN}, {"outputs": {}, "executions": {}}))
    assert report.cases[0].got == {"outputs": {"a": 5, "b": 6}, "executions": {"a": 1, "b": 1}}


async def test_a_wait_is_answered_and_a_sleep_fires(tmp_path: Path) -> None:
    answered = {"first_status": "awaiting", "status": "completed", "outputs": {"w": [1], "e": [1]}}
    report = await _run(
        tmp_path,
        _case("wait", {"main": WAIT}, answered, [{"node": "w", "output": [1]}]),
        _case("no output", {"main": WAIT}, {"outputs": {"e": None}, "status": "completed"}, [{"node": "w"}]),
        _case(
            "nap", {"main": NAP}, {"first_status": "awaiting", "status": "completed"}, [{"node": "s", "timer": True}]
        ),
        _case("nested", {"main": PARENT, "child": WAIT}, {"status": "completed"}, [{"node": "p/w", "output": 2}]),
    )
    assert [outcome.difference for outcome in report.cases] == [None] * 4


async def test_a_run_that_waits_for_ever_ends_as_awaiting(tmp_path: Path) -> None:
    report = await _run(tmp_path, _case("wait", {"main": WAIT}, {"status": "awaiting", "first_status": "awaiting"}))
    assert report.cases[0].difference is None


async def test_a_run_is_cancelled(tmp_path: Path) -> None:
    expect = {"first_status": "awaiting", "status": "cancelled", "executions": {"w": 1}}
    report = await _run(tmp_path, _case("cancel", {"main": WAIT}, expect, [{"cancel": "enough"}]))
    assert report.cases[0].difference is None


async def test_an_answer_that_nothing_waits_for_is_a_difference(tmp_path: Path) -> None:
    case = _case("chain", {"main": CHAIN}, {"status": "completed"}, [{"node": "w", "output": 1}])
    report = await _run(tmp_path, case)
    assert report.cases[0].difference == "StepFailed: nothing waits at 'w'; the run is completed"
    assert report.cases[0].got == {"status": "completed"}


async def test_retries_within_one_start_are_one_execution(tmp_path: Path) -> None:
    report = await _run(tmp_path, _case("flaky", {"main": FLAKY}, {"executions": {"f": 1}, "status": "completed"}))
    assert report.cases[0].difference is None


async def test_distinct_batch_workers_are_counted(tmp_path: Path) -> None:
    expect = {"batch_workers": 3, "executions": {"s": 1, "g": 1}}
    case = {**_case("batch", {"main": BATCH}, expect), "context": {"list": [1, 2, 3]}}
    report = await _run(tmp_path, case)
    assert report.cases[0].difference is None


async def test_malformed_cases_fail_and_the_others_run(tmp_path: Path) -> None:
    good = _case("chain", {"main": CHAIN}, {"status": "completed"})
    report = await _run(tmp_path, 7, good, {**good, "entry": "nowhere"})
    assert [outcome.ok for outcome in report.cases] == [False, True, False]
    assert report.cases[2].difference == "malformed case: entry 'nowhere' is none of its blueprints"
    assert (report.passed, report.failed) == (1, 2)


async def test_a_case_that_never_ends_fails_with_what_is_known(tmp_path: Path) -> None:
    slow = _blueprint([{"id": "a", "uses": "slow", "params": {"ms": 60_000}}])
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([_case("slow", {"main": slow}, {"status": "completed"})]))
    runner = ConformanceRunner(path, load_cases(path), ConformanceOptions("memory", case_seconds=0.2))
    (outcome,) = (await runner.run()).cases
    assert outcome.difference == 'no end after 0.2 s; status: expected "completed", got "running"'


def _event(kind: str, run_id: str, node_id: str, activation: str) -> Event:
    return Event(kind, {"runId": run_id, "blueprintId": "b", "nodeId": node_id, "activation": activation})


def test_the_tally_of_several_processes_is_read_from_one_file(tmp_path: Path) -> None:
    path, run_id = tmp_path / "starts.jsonl", f"{RUN_PREFIX}1"
    tally = TallyFile(path)
    assert not tally.read(run_id).executions
    one, other = TallyWriter(path), TallyWriter(path)
    one(_event("node:start", run_id, "a", "a"))
    other(_event("node:start", run_id, "a", "a#1"))
    other(_event("node:start", run_id, "s[0]", "s[0]"))
    other(_event("node:start", "a child run", "a", "a"))
    one(_event("workflow:finish", run_id, "", ""))
    assert tally.read(run_id).executions == {"a": 2}
    assert tally.list_running(os.getpid()) == {(run_id, "a"), (run_id, "s[0]")}
    assert tally.read(run_id).batch_workers == {"s[0]"}
    assert not tally.read("a child run").executions


def test_half_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path, run_id = tmp_path / "starts.jsonl", f"{RUN_PREFIX}1"
    TallyWriter(path)(_event("node:start", run_id, "a", "a"))
    line = path.read_bytes()
    path.write_bytes(line + line[:10])
    tally = TallyFile(path)
    assert tally.read(run_id).executions == {"a": 1}
    path.write_bytes(line + line)
    assert tally.read(run_id).executions == {"a": 2}


def test_what_has_ended_runs_no_more(tmp_path: Path) -> None:
    path, run_id = tmp_path / "starts.jsonl", f"{RUN_PREFIX}1"
    writer, tally = TallyWriter(path), TallyFile(path)
    writer(_event("node:start", run_id, "a", "a"))
    writer(_event("node:start", run_id, "b", "b"))
    writer(_event("node:finish", run_id, "a", "a"))
    writer(_event("node:error", run_id, "b", "b"))
    tally.catch_up()
    assert tally.list_running(os.getpid()) == set()
