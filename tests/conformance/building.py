"""From a draft to a whole case: the oracle gives the expectations, and the author's own are held against them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping

from tests.conformance.drafting import ABSENT, Blueprint, Draft
from tests.oracle.judge import differences, judge
from tests.oracle.values import same

Case = dict[str, object]

ORDERS = 12


class DraftError(Exception):
    """A draft does not hold."""


def build(draft: Draft) -> Case:
    """Make a whole case of a draft.

    Raises:
        DraftError: The oracle sees it differently, or it has more than one result.
    """
    name = f"{draft.rule.replace('.', '-')}-{draft.label}"
    case = assemble(name, draft.rule, draft.blueprints, draft.context, draft.resume)
    actual = judge(case)
    wrong = list(_objections(draft.want, actual))
    if wrong:
        raise DraftError(f"{name}: {'; '.join(wrong)}")
    return settle(case, actual)


def assemble(
    name: str,
    rule: str,
    blueprints: Mapping[str, Blueprint],
    context: Mapping[str, object],
    resume: object,
) -> Case:
    """Put a case together, without expectations; the names of blueprints become unique among all cases."""
    ids = {short: name if short == "main" else f"{name}-{short}" for short in blueprints}
    written = {ids[short]: {"id": ids[short], **_renamed(one, ids)} for short, one in blueprints.items()}
    case: Case = {
        "name": name,
        "category": "improved",
        "rule": rule,
        "evaluator": "expression",
        "entry": name,
        "blueprints": written,
        "context": dict(context),
    }
    if resume:
        case["resume"] = resume
    # Through JSON, so that nothing is shared and everything is what a reader will see.
    copied: Case = json.loads(json.dumps(case))
    return copied


def settle(case: Case, actual: Mapping[str, object]) -> Case:
    """Add the expectations, after trying other orders of independent work.

    Raises:
        DraftError: Another order gives another result.
    """
    expect = dict(actual)
    if expect["status"] == "cancelled":
        # Which joins were still open when the cancellation came is of no interest.
        del expect["skipped_nodes"]
    if '"batch-scatter"' not in json.dumps(case["blueprints"]):
        del expect["batch_workers"]
    whole = {**case, "expect": expect}
    for seed in range(ORDERS):
        wrong = differences(whole, judge(case, chance=random.Random(seed)))
        if wrong:
            raise DraftError(f"{case['name']}: order {seed} gives {'; '.join(wrong)}")
    if '"timer"' in json.dumps(case):
        _check_timers(whole, expect)
    return whole


def _check_timers(case: Case, expect: dict[str, object]) -> None:
    """Let sleeps fire early; where that hides that the run awaited first, `first_status` is not given."""
    for seed in range(ORDERS):
        actual = judge(case, chance=random.Random(seed), early_timers=True)
        if "first_status" in expect and actual["first_status"] != expect["first_status"]:
            del expect["first_status"]
        wrong = differences(case, actual)
        if wrong:
            raise DraftError(f"{case['name']}: early timers, order {seed} gives {'; '.join(wrong)}")


def _renamed(blueprint: Blueprint, ids: Mapping[str, str]) -> Blueprint:
    copied: Blueprint = json.loads(json.dumps(blueprint))
    nodes = copied["nodes"]
    for node in nodes if isinstance(nodes, list) else []:
        params = node.get("params", {})
        if params.get("blueprintId") in ids:
            params["blueprintId"] = ids[params["blueprintId"]]
    return copied


def _objections(want: Mapping[str, object], actual: Mapping[str, object]) -> Iterable[str]:
    whole = {"status": "status", "first": "first_status", "failed": "failed_nodes", "workers": "batch_workers"}
    whole["skipped"] = "skipped_nodes"
    wished = {"status": "completed", "failed": [], **want}
    if "first" not in wished:
        wished["first"] = wished["status"]
    for short, key in whole.items():
        if short in wished and not same(wished[short], actual[key]):
            yield f"{key} is {actual[key]!r}, not {wished[short]!r}"
    for short, key in (("outputs", "outputs"), ("context", "context"), ("ran", "executions")):
        given, held = wished.get(short, {}), actual[key]
        if not isinstance(given, dict) or not isinstance(held, dict):
            raise DraftError(f"{key} is no object")
        for name, value in given.items():
            missing = value is ABSENT or (short == "ran" and value == 0)
            if missing != (name not in held) or (not missing and not same(value, held[name])):
                yield f"{key}.{name} is {held.get(name, 'absent')!r}, not {value!r}"
