"""What this evaluator adds to JavaScript: unknown names, absent members, own members only, names with dashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flowcraft_dagster.engine.expression import UNDEFINED_NAME, Evaluation, MappingScope, compile_expression, evaluate
from flowcraft_dagster.engine.values import UNDEFINED

CONTEXT = {"count": 2, "none": None, "deep": {"x": {"y": 1}}}
SCOPE: dict[str, Any] = {**CONTEXT, "context": CONTEXT, "result": {"output": {"score": 3}}}


@pytest.mark.parametrize(
    "text",
    [
        "nosuch === undefined",
        "!nosuch",
        "typeof nosuch",
        "nosuch || true",
        "nosuch ?? true",
        "nosuch?.x",
        "false || nosuch",
        "[nosuch]",
        "{a: nosuch}",
        "{nosuch}",
        "count ? nosuch : 1",
        "deep[nosuch]",
        "'' + (1 + nosuch)",
    ],
)
def test_an_unknown_name_makes_everything_undefined(text: str) -> None:
    assert evaluate(text, SCOPE) == Evaluation(UNDEFINED, "the name 'nosuch' is not known here")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true || nosuch", True),
        ("0 && nosuch", 0),
        ("count ?? nosuch", 2),
        ("count ? 1 : nosuch", 1),
        ("none?.x[nosuch]", UNDEFINED),
    ],
)
def test_a_name_that_is_passed_over_does_no_harm(text: str, value: Any) -> None:
    assert evaluate(text, SCOPE) == Evaluation(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("none.x === undefined", "'none' is null, so its member 'x' cannot be read"),
        ("!(result.output.x.y > 3)", "'result.output.x' is undefined, so its member 'y' cannot be read"),
        ("deep['x'].q.z || 1", "'deep.x.q' is undefined, so its member 'z' cannot be read"),
        ("deep[count].z", "the value in front is undefined, so its member 'z' cannot be read"),
        ("none[count]", "'none' is null, so a member of it cannot be read"),
        ("(none?.x).y", "the value in front is undefined, so its member 'y' cannot be read"),
    ],
)
def test_a_member_of_nothing_makes_everything_undefined(text: str, reason: str) -> None:
    assert evaluate(text, SCOPE) == Evaluation(UNDEFINED, reason)


@pytest.mark.parametrize(
    "text", ["context.nosuch === undefined", "!context.nosuch", "typeof context.nosuch === 'undefined'"]
)
def test_the_context_tests_for_absence(text: str) -> None:
    assert evaluate(text, SCOPE) == Evaluation(True)


INHERITED = [
    "constructor",
    "__proto__",
    "toString",
    "hasOwnProperty",
    "__class__",
    "__dict__",
    "get",
    "keys",
    "append",
    "upper",
]


@pytest.mark.parametrize("member", INHERITED)
@pytest.mark.parametrize("value", ["deep", "count", "result", "'text'", "[1]", "{a: 1}", "true"])
def test_inherited_members_are_undefined(member: str, value: str) -> None:
    assert evaluate(f"({value}).{member}", SCOPE) == Evaluation(UNDEFINED)
    assert evaluate(f"({value})['{member}']", SCOPE) == Evaluation(UNDEFINED)


def test_own_members_of_such_names_are_values() -> None:
    assert evaluate("deep.constructor + deep['__proto__']", {"deep": {"constructor": 1, "__proto__": 2}}).value == 3


def test_a_scope_is_asked_only_for_what_is_reached() -> None:
    asked: list[str] = []

    class Recording:
        def lookup(self, name: str) -> Any:
            asked.append(name)
            return {"a": 0}.get(name, UNDEFINED_NAME)

    assert compile_expression("a && b.c").evaluate(Recording()) == Evaluation(0)
    assert asked == ["a"]


def test_what_a_scope_raises_passes_through() -> None:
    class Broken:
        def lookup(self, name: str) -> Any:
            raise ConnectionError(name)

    with pytest.raises(ConnectionError, match="a"):
        evaluate("a + 1", Broken())


def test_a_lazy_mapping_is_read_member_by_member() -> None:
    class Lazy(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key != "here":
                raise KeyError(key)
            return 5

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("nobody needs all of it")

        def __len__(self) -> int:
            raise AssertionError("nobody needs all of it")

    scope = MappingScope({"context": Lazy()})
    assert evaluate("context.here + 1", scope) == Evaluation(6)
    assert evaluate("context.gone === undefined", scope) == Evaluation(True)
    assert evaluate("'' + context", scope) == Evaluation("[object Object]")
    assert evaluate("context === context", scope) == Evaluation(True)


def test_an_undefined_value_of_a_known_name_is_no_abort() -> None:
    assert evaluate("input === undefined", {"input": UNDEFINED}) == Evaluation(True)


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("check-spam.score > 3", {"check-spam": {"score": 4}}, True),
        ("check-spam.score > 3", {"check": 9, "spam": {"score": 4}}, True),
        ("check-spam.score > 3", {"check": 6, "spam": {"score": 4}}, False),
        ("2*a-b", {"a-b": 5, "a": 1, "b": 1}, 10),
        ("2*a-b", {"a": 1, "b": 1}, 1),
        ("2 * a - b", {"a-b": 5, "a": 1, "b": 1}, 1),
        ("a-b-c", {"a-b-c": 1, "a-b": 2, "a": 3, "b": 4, "c": 5}, 1),
        ("a-b-c", {"a-b": 10, "a": 3, "b": 4, "c": 5}, 5),
        ("a-b-c", {"b-c": 10, "a": 3, "b": 4, "c": 5}, -7),
        ("a-b-c", {"a-b": 10, "b-c": 20, "a": 3, "c": 5}, 5),
        ("a-b-c-d", {"a-b": 10, "b-c-d": 20, "a": 3, "c": 5, "d": 1}, -17),
        ("a-b-c-d", {"a-b": 10, "c-d": 4}, 6),
        ("a-b - a-b", {"a-b": 4}, 0),
        ("step-1 > 0", {"step-1": 7}, True),
        ("step-1 > 0", {"step": 1}, False),
        ("2024-01 === 5", {"2024-01": 5}, True),
        ("on-new.total", {"on-new": {"total": 2}}, 2),
        ("-a-b", {"a-b": 4}, -4),
        ("typeof a-b", {"a-b": 4}, "number"),
        ("!a-b", {"a-b": 4}, False),
        ("'a-b' + c", {"a-b": 4, "c": "!"}, "a-b!"),
        ('"\\"a-b" + c', {"a-b": 4, "c": "!"}, '"a-b!'),
        ("o.a-b", {"o": {"a": 5, "a-b": 1}, "b": 2, "a-b": 9}, 3),
        ("o . a-b", {"o": {"a": 5}, "b": 2, "a-b": 9}, 3),
        ("o['a-b']", {"o": {"a-b": 1}, "a-b": 9}, 1),
        ("a-b?.c", {"a-b": {"c": 1}}, 1),
        ("x?a-b:c-d", {"x": 1, "a-b": 4, "c-d": 5}, 4),
        ("1.5-2", {"5-2": 1}, -0.5),
        ("a-b[0]", {"a-b": [3]}, 3),
        ("{a: c-d, 'e-f': 1}", {"c-d": 2, "e-f": 3}, {"a": 2, "e-f": 1}),
    ],
)
def test_names_with_dashes(text: str, keys: dict[str, Any], value: Any) -> None:
    assert evaluate(text, keys) == Evaluation(value)


def test_one_expression_reads_dashes_anew_for_every_scope() -> None:
    expression = compile_expression("a-b")
    assert expression.evaluate({"a": 5, "b": 3}).value == 2
    assert expression.evaluate({"a": 5, "b": 3, "a-b": "key"}).value == "key"
    assert expression.evaluate({"a": 5, "b": 3}).value == 2


def test_more_readings_than_are_kept_are_right_too() -> None:
    pairs = [(f"k{i}-m{i}", f"k{i}", f"m{i}") for i in range(6)]
    expression = compile_expression(" + ".join(key for key, _, _ in pairs))
    plain = {name: 1 for _, first, second in pairs for name in (first, second)}
    for chosen in range(2 ** len(pairs)):
        keys = {key: 10 for bit, (key, _, _) in enumerate(pairs) if chosen >> bit & 1}
        assert expression.evaluate(plain | keys).value == 10 * len(keys)


def test_an_unknown_name_in_a_chain_names_the_chain_too() -> None:
    reason = "the name 'check' is not known here, and neither is 'check-spam'"
    assert evaluate("check-spam.ok", {}) == Evaluation(UNDEFINED, reason)


def test_a_reading_that_is_no_expression_is_undefined() -> None:
    evaluation = evaluate("on-new.total", {"on": 1})
    assert evaluation.value is UNDEFINED
    assert evaluation.reason is not None
    assert evaluation.reason.startswith("'new' is a reserved word")


def test_names_for_the_linter() -> None:
    expression = compile_expression("check-spam.score > limit && !{a: other, seen}[key].name && 'quoted' || true")
    assert expression.names == {"check", "spam", "limit", "other", "seen", "key"}
    assert expression.dashed_keys == {"check-spam"}
    assert expression.names_among({"check-spam"}) == {"check-spam", "limit", "other", "seen", "key"}
    assert expression.names_among(()) == expression.names
    assert compile_expression("on-new.total").names == frozenset()
    assert compile_expression("on-new.total").names_among({"on-new"}) == {"on-new"}
