"""Plain property paths, which need no parser."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from flowcraft_dagster.engine.expression import Evaluation, compile_expression, evaluate
from flowcraft_dagster.engine.values import UNDEFINED

SCOPE: dict[str, Any] = {
    "list": [{"name": "first"}, {"name": "second"}],
    "401": {"total": 12, "0": "zero"},
    "1e5x": {"a": 1},
    "007": "agent",
    "": {"x": "below the empty key", "": "twice"},
    "a": {"": {"b": "middle"}, "class": "reserved", "x-y": 1},
    "class": {"new": 5},
    "$_": {"$": 1},
    "text": "word",
    "true": {"x": 1},
    "wide": "a\U0001f600",
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("list.0.name", "first"),
        ("list.1.name", "second"),
        ("list.length", 2),
        ("list.2", UNDEFINED),
        ("list.01", UNDEFINED),
        ("401.total", 12),
        ("401.0", 401.0),
        ("1e5x.a", 1),
        ("007", "agent"),
        (".x", "below the empty key"),
        (".", "twice"),
        ("a..b", "middle"),
        ("a.class", "reserved"),
        ("class.new", 5),
        ("$_.$", 1),
        ("text.length", 4),
        ("text.0", "w"),
        ("wide.length", 3),
        ("wide.1", "\ud83d"),
        ("nothing", None),
        (" text\n", "word"),
    ],
)
def test_paths_lead_to_their_value(text: str, value: Any) -> None:
    assert evaluate(text, SCOPE) == Evaluation(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("undefined", UNDEFINED),
        ("Infinity", float("inf")),
        ("1.5", 1.5),
        ("401", 401),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
    ],
)
def test_literals_are_no_paths(text: str, value: Any) -> None:
    assert evaluate(text, SCOPE | {"5": 1, "1": 1}) == Evaluation(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("missing", "the name 'missing' is not known here"),
        ("missing.x.y", "the name 'missing' is not known here"),
        ("nothing.x", "'nothing' is null, so its member 'x' cannot be read"),
        ("list.2.name", "'list.2' is undefined, so its member 'name' cannot be read"),
        ("null.x", "the value in front is null, so its member 'x' cannot be read"),
    ],
)
def test_paths_that_lead_nowhere_say_why(text: str, reason: str) -> None:
    assert evaluate(text, SCOPE) == Evaluation(UNDEFINED, reason)


@pytest.mark.parametrize("text", ["a.missing", "text.9", "text.missing", "401.total.x", "true.x"])
def test_a_missing_member_is_only_undefined(text: str) -> None:
    assert evaluate(text, SCOPE) == Evaluation(UNDEFINED)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("list.0.name === 'first'", True),
        ("list.0.name.length > 4", True),
        ("(list).1.name + '!'", "second!"),
        ("401.total > 3", True),
        ("401.total.x === undefined", True),
        ("007 + 1", "agent1"),
        ("a.class + 1", "reserved1"),
        ("-401.total", -12),
        ("5 - 401.total", -7),
        ("3-1.5", 1.5),
        ("1.e3+0", 1000),
    ],
)
def test_paths_inside_expressions_are_the_same(text: str, value: Any) -> None:
    assert evaluate(text, SCOPE) == Evaluation(value)


def test_values_are_shared_with_the_scope() -> None:
    assert evaluate("list", SCOPE).value is SCOPE["list"]


def test_paths_need_no_parser_library() -> None:
    code = (
        "import sys\n"
        "from flowcraft_dagster.engine.expression import compile_expression\n"
        "compile_expression('result.output.items.0.name').evaluate({'result': {}})\n"
        "assert 'lark' not in sys.modules\n"
        "compile_expression('1 + 1')\n"
        "assert 'lark' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_of_a_path() -> None:
    assert compile_expression("401.total").names == {"401"}
    assert compile_expression("null.x").names == frozenset()
