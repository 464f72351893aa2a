from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.testing.conformance.cases import (
    Answer,
    CancelRun,
    Case,
    LetTimerFire,
    MalformedCase,
    load_cases,
    read_case,
)

GOOD: dict[str, Any] = {
    "name": "parent",
    "category": "never seen before",
    "evaluator": "property",
    "entry": "main",
    "blueprints": {
        "main": {
            "id": "main",
            "nodes": [
                {"id": "s", "uses": "SubflowNode", "params": {"blueprintId": "child"}},
                {"id": "e", "uses": "echo", "params": {"blueprintId": "child"}},
            ],
            "edges": [{"source": "s", "target": "e"}],
        },
        "child": {"nodes": {"x": {"id": "x", "uses": "wait"}}, "edges": []},
    },
    "context": {"n": 1},
    "resume": [
        {"node": "s/x", "output": None},
        {"node": "s/x", "action": "go"},
        {"node": "e", "timer": True},
        {"cancel": "enough"},
    ],
    "expect": {"status": "completed"},
}


def test_blueprints_get_a_name_space_of_their_own() -> None:
    first, second = read_case(0, GOOD), read_case(1, GOOD)
    assert isinstance(first, Case)
    assert isinstance(second, Case)
    names = {blueprint.id for case in (first, second) for blueprint in case.blueprints}
    assert len(names) == 4
    by_id = {blueprint.id: blueprint for blueprint in first.blueprints}
    assert first.blueprint.by_id["s"].params["blueprintId"] in by_id
    assert first.blueprint.by_id["e"].params["blueprintId"] == "child"
    assert GOOD["blueprints"]["main"]["nodes"][0]["params"]["blueprintId"] == "child"


def test_steps_are_read_in_order() -> None:
    case = read_case(0, GOOD)
    assert isinstance(case, Case)
    assert case.steps == (
        Answer("s/x", None, None),
        Answer("s/x", UNDEFINED, "go"),
        LetTimerFire("e"),
        CancelRun("enough"),
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"entry": "nowhere"}, "entry 'nowhere' is none of its blueprints"),
        ({"entry": None}, "'entry' has the wrong type"),
        ({"blueprints": []}, "'blueprints' has the wrong type"),
        ({"blueprints": {"main": 7}}, "blueprint 'main' is not an object"),
        ({"blueprints": {"main": {"nodes": [{"id": "a"}], "edges": []}}}, "blueprint 'main', node 'a', field 'uses'"),
        ({"blueprints": {"main": {"nodes": [7]}}}, "blueprint 'main'"),
        ({"context": [1]}, "'context' has the wrong type"),
        ({"resume": {"node": "x"}}, "'resume' has the wrong type"),
        ({"resume": [{"output": 1}]}, "a step of 'resume' names no node"),
        ({"resume": ["x"]}, "a step of 'resume' is not an object"),
        ({"expect": None}, "'expect' has the wrong type"),
    ],
)
def test_a_malformed_case_says_why(change: dict[str, Any], reason: str) -> None:
    case = read_case(3, {**GOOD, **change})
    assert isinstance(case, MalformedCase)
    assert (case.index, case.name, case.category) == (3, "parent", "never seen before")
    assert reason in case.reason


@pytest.mark.parametrize("document", [None, 7, "x", [], {}])
def test_whatever_stands_for_a_case_something_comes_of_it(document: Any) -> None:
    case = read_case(0, document)
    assert isinstance(case, MalformedCase)
    assert case.name == "case 0"


def test_optional_parts_may_be_missing() -> None:
    document = {key: GOOD[key] for key in ("entry", "blueprints", "expect")}
    case = read_case(0, document)
    assert isinstance(case, Case)
    assert (case.context, case.steps, case.category) == ({}, (), "")


@pytest.mark.parametrize("text", ["{", '{"cases": []}', "7"])
def test_a_file_that_holds_no_cases_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(text)
    with pytest.raises(FlowcraftError, match=r"cases\.json"):
        load_cases(path)


def test_a_file_may_mix_good_and_bad_cases(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([GOOD, 7, GOOD]))
    assert [type(case) for case in load_cases(path)] == [Case, MalformedCase, Case]
