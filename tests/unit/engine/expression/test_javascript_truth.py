"""The evaluator against what node made of the same expressions; see ``generate_truth.py``."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.engine.expression import compile_expression
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import ExpressionError

TRUTH = json.loads(Path(__file__).with_name("javascript_truth.json").read_text("utf-8"))
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def matches(got: Any, expected: Any) -> bool:
    """Whether a Python value is the JavaScript value that the file describes."""
    if isinstance(expected, dict) and "$" in expected:
        if expected["$"] == "undefined":
            return got is UNDEFINED
        special = SPECIAL[expected["$"]]
        return isinstance(got, float) and (got == special or (math.isnan(got) and math.isnan(special)))
    if isinstance(expected, dict):
        return (
            isinstance(got, dict) and got.keys() == expected.keys() and all(matches(got[k], expected[k]) for k in got)
        )
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(matches, got, expected))
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        return isinstance(got, (int, float)) and not isinstance(got, bool) and float(got) == float(expected)
    return type(got) is type(expected) and bool(got == expected)


def outcome_of(text: str, scope: dict[str, Any]) -> tuple[str, Any]:
    try:
        evaluation = compile_expression(text).evaluate(scope)
    except ExpressionError as error:
        return "refused", error.reason
    return ("value", evaluation.value) if evaluation.reason is None else ("aborted", evaluation.reason)


def test_values_are_those_of_javascript() -> None:
    scope = TRUTH["scope"]
    wrong = []
    for text, outcome in TRUTH["cases"]:
        kind, got = outcome_of(text, scope)
        if kind not in outcome or (kind == "value" and not matches(got, outcome["value"])):
            wrong.append(f"{text}\n    expected {outcome}, got {kind}: {got!r}")
    assert not wrong, f"{len(wrong)} of {len(TRUTH['cases'])} differ:\n" + "\n".join(wrong[:20])


def test_the_file_has_every_kind_of_outcome() -> None:
    outcomes = [outcome for _, outcome in TRUTH["cases"]]
    assert sum("value" in outcome for outcome in outcomes) > 1400
    assert sum(outcome.get("aborted") == "ReferenceError" for outcome in outcomes) >= 10
    assert sum(outcome.get("aborted") == "TypeError" for outcome in outcomes) >= 100
    assert sum(outcome.get("refused") == "SyntaxError" for outcome in outcomes) >= 10


def test_evaluation_changes_nothing_it_reads() -> None:
    before = copy.deepcopy(TRUTH["scope"])
    for text, _ in TRUTH["cases"]:
        outcome_of(text, TRUTH["scope"])
    assert before == TRUTH["scope"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 1", 2),
        ("7 / 2", 3.5),
        ("4 / 2", 2),
        ("9007199254740991 + 0", 2**53 - 1),
        ("-0", 0),
        ("0 * -1", 0),
        ("[-0]", [0]),
    ],
)
def test_whole_exact_numbers_are_ints(text: str, value: Any) -> None:
    got = compile_expression(text).evaluate({}).value
    assert got == value
    assert repr(got) == repr(value)


def test_whole_numbers_beyond_the_exact_ones_stay_doubles() -> None:
    got = compile_expression("n + 1").evaluate({"n": 2**53}).value
    assert isinstance(got, float)
    assert got == 2.0**53


def test_integers_beyond_the_doubles_are_infinite() -> None:
    assert compile_expression("n * -1").evaluate({"n": 10**400}).value == -math.inf


def test_negative_zero_is_seen_by_division() -> None:
    assert compile_expression("1 / (0 * -1)").evaluate({}).value == -math.inf
