"""The oracle gives the expected result of every conformance case, and the written cases are those of their drafts."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.building import Case, DraftError, build
from tests.conformance.drafting import draft, echo, flow, loop, node
from tests.conformance.generate import GROUPS
from tests.oracle.judge import awaited, differences, judge
from tests.oracle.script import NoValueError, evaluate
from tests.oracle.state import CaseError
from tests.oracle.values import UNDEFINED, text

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "conformance" / "cases.json"
OWN = sorted((ROOT / "tests" / "conformance" / "cases").glob("*.json"))


def _load(path: Path) -> list[Case]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, list)
    assert found
    return found


def _own() -> list[Case]:
    return [case for path in OWN for case in _load(path)]


def _wrong(cases: list[Case], chance: random.Random | None = None) -> dict[str, list[str]]:
    found = {str(case["name"]): differences(case, judge(case, chance=chance)) for case in cases}
    return {name: wrong for name, wrong in found.items() if wrong}


def _lookup(name: str) -> object:
    if name != "n":
        raise NoValueError
    return 4


def test_every_shared_case_gives_its_expected_result() -> None:
    # The folder stands beside the checkout, or is missing; then our own cases take its place.
    cases = _load(SHARED) if SHARED.exists() else _own()
    assert len(cases) >= 237
    assert _wrong(cases) == {}


def test_every_own_case_gives_its_expected_result() -> None:
    cases = _own()
    assert len(cases) > 400
    assert _wrong(cases) == {}


def test_the_order_of_independent_work_does_not_matter() -> None:
    cases = [case for path in OWN if path.stem != "random" for case in _load(path)]
    assert _wrong(cases, random.Random(20_240)) == {}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_written_cases_are_those_of_their_drafts(group: str) -> None:
    drafts = GROUPS[group].DRAFTS
    written = _load(ROOT / "tests" / "conformance" / "cases" / f"{group}.json")
    assert [case["name"] for case in written] == [f"{one.rule.replace('.', '-')}-{one.label}" for one in drafts]
    for one, case in list(zip(drafts, written, strict=True))[::7]:
        assert build(one) == case


def test_every_rule_is_in_the_index_and_has_three_cases() -> None:
    counts = Counter(str(case["rule"]) for case in _own())
    index = (ROOT / "tests" / "conformance" / "rules.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w.-]+)` \| (\d+) \|", index, re.MULTILINE))
    assert {rule: str(count) for rule, count in counts.items()} == listed
    assert min(counts.values()) >= 3


def test_names_of_cases_and_blueprints_are_unique() -> None:
    cases = _own()
    blueprints = Counter(name for case in cases for name in dict(case["blueprints"]))  # type: ignore[call-overload]
    assert max(Counter(str(case["name"]) for case in cases).values()) == 1
    assert max(blueprints.values()) == 1


def test_a_changed_expectation_is_noticed() -> None:
    case = _own()[0]
    expect = dict(case["expect"])  # type: ignore[call-overload]
    for key, value in expect.items():
        changed = {**case, "expect": {**expect, key: [value, "changed"]}}
        assert len(differences(changed, judge(case))) == 1


def test_the_author_of_a_draft_may_disagree() -> None:
    blueprint = flow([echo("a")])
    with pytest.raises(DraftError, match=r"executions\.a is 1, not 2"):
        build(draft("rule", "wrong", blueprint, {"ran": {"a": 2}}))


def test_a_result_that_depends_on_the_order_is_refused() -> None:
    blueprint = flow([node("a", "put", key="k", value=1), node("b", "put", key="k", value=2)])
    with pytest.raises(DraftError, match=r"order \d+ gives context"):
        build(draft("rule", "race", blueprint, {}))


def test_reaching_the_loop_limit_fails_the_run() -> None:
    blueprint = {**flow([echo("a"), loop("lp", "true"), echo("x")], "a > lp", "lp > x [continue]", "x > lp"), "id": "b"}
    case: Case = {"entry": "b", "blueprints": {"b": blueprint}, "context": {}}
    result = judge(case, loop_limit=5)
    assert result["status"] == "failed"
    assert result["executions"] == {"a": 1, "lp": 6, "x": 5}
    assert result["failed_nodes"] == ["lp"]


def test_an_answer_that_fits_nothing_is_an_error() -> None:
    blueprint = {**flow([node("w", "wait")]), "id": "b"}
    case: Case = {"entry": "b", "blueprints": {"b": blueprint}, "context": {}}
    assert awaited(case) == [("w", "wait")]
    with pytest.raises(CaseError, match="nothing is open"):
        judge({**case, "resume": [{"node": "v", "output": 1}]})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * n", 9.0),
        ("'a' + n", "a4"),
        ("nosuch", UNDEFINED),
        ("true || nosuch", True),
        ("n.x", UNDEFINED),
        ("n.x.y || 1", UNDEFINED),
        ("n >", UNDEFINED),
        ("-7 % 3", -1.0),
    ],
)
def test_expressions(source: str, value: object) -> None:
    assert evaluate(source, _lookup) == value


@pytest.mark.parametrize(
    ("number", "written"),
    [(1.0, "1"), (1e21, "1e+21"), (123e-9, "1.23e-7"), (1e-6, "0.000001"), (-0.0, "0"), (1e20, "1" + "0" * 20)],
)
def test_numbers_are_written_as_in_javascript(number: float, written: str) -> None:
    assert text(number) == written
