"""Write `cases/*.json` and `rules.md` from the drafts; the oracle gives the expectations.

Run it from the project root: `python -m tests.conformance.generate`. It writes the same files every time. It stops
when the oracle and the author of a draft disagree, or when the result depends on the order of independent work.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.conformance import random_blueprints
from tests.conformance.drafting import ABSENT, Blueprint, Draft, Rule
from tests.conformance.written import (
    activations,
    batches,
    expressions,
    failures,
    fallbacks,
    inputs,
    joins,
    routing,
    runs,
    subflows,
    waiting,
)
from tests.oracle.judge import differences, judge
from tests.oracle.values import same

Case = dict[str, object]

HERE = Path(__file__).parent
GROUPS = {
    "activations": activations,
    "joins": joins,
    "inputs": inputs,
    "routing": routing,
    "expressions": expressions,
    "failures": failures,
    "fallbacks": fallbacks,
    "waiting": waiting,
    "subflows": subflows,
    "batches": batches,
    "runs": runs,
}
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


def _index(rules: Mapping[str, tuple[Rule, ...]], cases: Iterable[Case]) -> str:
    counts = Counter(str(case["rule"]) for case in cases)
    lines = [
        "# Rules and their cases",
        "",
        "Written by `python -m tests.conformance.generate`. Each rule is a sentence of section 4 of the design (or of the",
        "behaviour it refers to); each of its cases in `cases/` names it as `rule`. The last column says which kind of bug",
        "the cases find.",
    ]
    for group, listed in rules.items():
        lines += ["", f"## {group}", "", "| rule | cases | what must hold | finds |", "|---|---|---|---|"]
        lines += [
            f"| `{one.id}` | {counts[one.id]} | {one.sentence} | {one.catches} |".replace("||", "\\|\\|")
            for one in listed
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all files."""
    everything: list[Case] = []
    rules: dict[str, tuple[Rule, ...]] = {}
    problems: list[str] = []
    written: dict[str, list[Case]] = {}
    for group, module in GROUPS.items():
        known = {rule.id for rule in module.RULES}
        rules[group] = module.RULES
        written[group] = []
        for draft in module.DRAFTS:
            if draft.rule not in known:
                problems.append(f"{draft.rule} is no rule of {group}")
            try:
                written[group].append(build(draft))
            except DraftError as error:
                problems.append(str(error))
        counts = Counter(draft.rule for draft in module.DRAFTS)
        problems += [f"{rule} has only {counts[rule]} cases" for rule in known if counts[rule] < 3]
        everything += written[group]
    rules["random"] = random_blueprints.RULES
    written["random"] = random_blueprints.cases()
    everything += written["random"]
    names = Counter(str(case["name"]) for case in everything)
    problems += [f"{name} is there twice" for name, count in names.items() if count > 1]
    if problems:
        sys.exit("\n".join(problems))
    for group, cases in written.items():
        lines = ",\n".join(json.dumps(case, separators=(",", ":"), ensure_ascii=False) for case in cases)
        (HERE / "cases" / f"{group}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (HERE / "rules.md").write_text(_index(rules, everything), encoding="utf-8")
    sys.stdout.write(f"{len(everything)} cases, {sum(map(len, rules.values()))} rules\n")


if __name__ == "__main__":
    main()
