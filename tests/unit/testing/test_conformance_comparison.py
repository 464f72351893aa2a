from __future__ import annotations

from typing import Any

import pytest

from flowcraft_dagster.testing.conformance.cases import Case, read_case
from flowcraft_dagster.testing.conformance.comparison import find_differences, is_same


def _case(expect: dict[str, Any], category: str = "linear") -> Case:
    nodes = [
        {"id": "a", "uses": "echo"},
        {"id": "sub", "uses": "subflow", "params": {"blueprintId": "child", "outputs": {"x": "y"}}},
    ]
    document = {
        "name": "one",
        "category": category,
        "entry": "main",
        "blueprints": {"main": {"id": "main", "nodes": nodes, "edges": []}, "child": {"nodes": [], "edges": []}},
        "context": {},
        "expect": expect,
    }
    case = read_case(0, document)
    assert isinstance(case, Case), case
    return case


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (None, False, False),
        ("1", 1, False),
        ([1, [2]], [1, [2.0]], True),
        ([1], [1, 2], False),
        ({"a": None}, {}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, True),
        ({"a": 1}, [1], False),
        ([], {}, False),
    ],
)
def test_values_are_equal_as_javascript_sees_them(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_everything_that_is_expected_must_be_observed() -> None:
    case = _case({"status": "completed", "outputs": {"a": 1}, "colour": "red"})
    assert find_differences(case, {"status": "failed", "outputs": {"a": 2, "b": 3}, "context": {}}) == [
        'status: expected "completed", got "failed"',
        "outputs: {a: expected 1, got 2; b: expected nothing, got 3}",
        "colour: nothing of that name can be observed",
    ]


def test_what_is_not_expected_is_not_compared() -> None:
    assert find_differences(_case({"status": "completed"}), {"status": "completed", "outputs": {"a": 2}}) == []


def test_outputs_of_mapped_subflows_count_only_where_they_are_given() -> None:
    observed = {"outputs": {"a": 1, "sub": {"x": 5}}}
    assert find_differences(_case({"outputs": {"a": 1}}), observed) == []
    assert find_differences(_case({"outputs": {"a": 1, "sub": {"x": 5}}}), observed) == []
    assert find_differences(_case({"outputs": {"a": 1, "sub": {"x": 6}}}), observed) != []
    assert find_differences(_case({"outputs": {"a": 1}}, "improved"), observed) != []


@pytest.mark.parametrize(
    ("observed", "fine"),
    [
        ({"a": 1, "b": 2}, True),
        ({"a": 3, "b": 2}, True),
        ({"a": 1, "b": 1}, False),
        ({"a": 1}, False),
        ({"a": 1, "b": 2, "c": 1}, False),
    ],
)
def test_crashes_allow_more_executions_and_nothing_else(observed: dict[str, int], fine: bool) -> None:
    case = _case({"executions": {"a": 1, "b": 2}})
    assert (find_differences(case, {"executions": observed}, with_crashes=True) == []) is fine
    assert (find_differences(case, {"executions": observed}) == []) is (observed == {"a": 1, "b": 2})


def test_crashes_allow_no_other_difference() -> None:
    case = _case({"batch_workers": 2, "status": "completed"})
    assert find_differences(case, {"batch_workers": 3, "status": "completed"}, with_crashes=True)
