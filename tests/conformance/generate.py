"""Write `cases/*.json` and `rules.md` from the drafts; the oracle gives the expectations.

Run it from the project root: `python -m tests.conformance.generate`. It writes the same files every time. It stops
when the oracle and the author of a draft disagree, or when the result depends on the order of independent work.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.conformance import random_blueprints
from tests.conformance.building import Case, DraftError, build
from tests.conformance.drafting import Rule
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


def _index(rules: Mapping[str, tuple[Rule, ...]], cases: Iterable[Case]) -> str:
    counts = Counter(str(case["rule"]) for case in cases)
    lines = [
        "# Rules and their cases",
        "",
        "Written by `python -m tests.conformance.generate`. Each rule is a sentence of section 4 of the design (or of",
        "the behaviour it refers to); each of its cases in `cases/` names it as `rule`. The last column says what",
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
