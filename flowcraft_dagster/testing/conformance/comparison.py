"""Comparing what was observed with what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.testing.conformance.cases import STRICT_CATEGORY, Case
from flowcraft_dagster.testing.conformance.tally import Starts

_SHOWN = 160


def observe(case: Case, result: RunResult, starts: Starts) -> dict[str, Any]:
    """What a run gave, under the names of ``expect``.

    Args:
        case: the case.
        result: the run as it is stored.
        starts: what was counted outside the commits.
    """
    node_ids = case.blueprint.by_id.keys()
    moves = [status for status, _ in result.statuses if status != "running"]
    first = moves[0] if moves else result.status
    return {
        # A cancellation passes through `cancelling`, which is no place where a run stops.
        "first_status": "cancelled" if first == "cancelling" else first,
        "status": result.status,
        "outputs": dict(result.outputs),
        "context": {
            key: value for key, value in result.context.items() if not key.startswith("_") and key not in node_ids
        },
        "executions": dict(starts.executions),
        "failed_nodes": sorted(node_id for node_id in result.failed_nodes if node_id in node_ids),
        "batch_workers": len(starts.batch_workers),
        "skipped_nodes": sorted(result.skipped_nodes),
    }


def find_differences(case: Case, observed: Mapping[str, Any], *, with_crashes: bool = False) -> list[str]:
    """What is not as expected, a line for each key.

    Args:
        case: the case.
        observed: from :func:`observe`.
        with_crashes: workers were killed, so that nodes may have been started again.
    """
    differences = []
    for key, expected in case.expect.items():
        if key not in observed:
            differences.append(f"{key}: nothing of that name can be observed")
            continue
        actual = observed[key]
        if key == "outputs" and isinstance(expected, dict) and case.category != STRICT_CATEGORY:
            ignored = case.mapped_subflows - expected.keys()
            actual = {node_id: output for node_id, output in actual.items() if node_id not in ignored}
        if key == "executions" and with_crashes and _covers(expected, actual):
            continue
        if not is_same(expected, actual):
            differences.append(f"{key}: {_contrast(expected, actual)}")
    return differences


def is_same(expected: Any, actual: Any) -> bool:
    """Whether two JSON values are equal as JavaScript sees them: 1 is 1.0, and neither is true.

    Example:
        >>> is_same({"a": [1, None]}, {"a": [1.0, None]}), is_same(1, True)
        (True, False)
    """
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, (int, float)) and isinstance(actual, (int, float)):
        return expected == actual
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(is_same(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(is_same, expected, actual))
    return type(expected) is type(actual) and expected == actual


def _covers(expected: Any, actual: Mapping[str, int]) -> bool:
    """Whether the same nodes ran, each at least as often as expected."""
    if not isinstance(expected, dict) or expected.keys() != actual.keys():
        return False
    return all(isinstance(count, int) and actual[node_id] >= count for node_id, count in expected.items())


def _contrast(expected: Any, actual: Any) -> str:
    if isinstance(expected, dict) and isinstance(actual, dict):
        parts = []
        for key in sorted(expected.keys() | actual.keys()):
            if key not in actual:
                parts.append(f"{key}: expected {_show(expected[key])}, got nothing")
            elif key not in expected:
                parts.append(f"{key}: expected nothing, got {_show(actual[key])}")
            elif not is_same(expected[key], actual[key]):
                parts.append(f"{key}: expected {_show(expected[key])}, got {_show(actual[key])}")
        return "{" + "; ".join(parts) + "}"
    return f"expected {_show(expected)}, got {_show(actual)}"


def _show(value: Any) -> str:
    text = one_line(encode(value).decode())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
