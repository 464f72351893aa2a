"""Texts that are no expressions, limits, and attacks."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft_dagster.engine.expression import Evaluation, compile_expression, evaluate
from flowcraft_dagster.engine.expression.limits import MAX_DEPTH, MAX_LENGTH, MAX_PARTS, MAX_TEXT
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import ExpressionError


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "it is empty"),
        ("  ", 2, "it is empty"),
        ("a +", 3, "it ends too early"),
        ("(a", 2, "it ends too early"),
        ("f(1)", 1, "calls are not allowed at character 2"),
        ("a.b()", 3, "calls are not allowed at character 4"),
        ("(a)(b)", 3, "calls are not allowed at character 4"),
        ("new Date", 0, "'new' is a reserved word (write context.new for a key of that name) at character 1"),
        ("this.x + 1", 0, "'this' is a reserved word (write context.this for a key of that name) at character 1"),
        (
            "function(){}",
            0,
            "'function' is a reserved word (write context.function for a key of that name) at character 1",
        ),
        ("() => 1", 1, "unexpected ')' at character 2"),
        ("x => 1", 2, "functions are not allowed at character 3"),
        ("a = 1", 2, "assignment is not allowed; compare with '===' at character 3"),
        ("a += 1", 3, "assignment is not allowed; compare with '===' at character 4"),
        ("a++ + 1", 1, "the operator '++' is not allowed at character 2"),
        ("--a + 1", 0, "the operator '--' is not allowed at character 1"),
        ("a--b", 1, "the operator '--' is not allowed at character 2"),
        ("2 ** 3", 3, None),
        ("a, b", 1, "the comma operator is not allowed at character 2"),
        ("a; b", 1, "only one expression is allowed at character 2"),
        ("`x`", 0, "template strings are not allowed; use quotes at character 1"),
        ("/x/ + 1", 0, "regular expressions are not allowed at character 1"),
        ("1 // one", 3, None),
        ("a & b", 2, "bitwise operators are not allowed at character 3"),
        ("~a", 0, "bitwise operators are not allowed at character 1"),
        ("'a' in b", 4, "the operator 'in' is not allowed at character 5"),
        ("a instanceof b", 2, "the operator 'instanceof' is not allowed at character 3"),
        ("[...a]", 1, "spreading with '...' is not allowed at character 2"),
        ("[1,,2]", 3, "the comma operator is not allowed at character 4"),
        ("a ?? b || c", 7, "'??' together with '||' or '&&' needs parentheses at character 8"),
        ("a || || b", 5, "unexpected '||' at character 6"),
        ("a b", 2, "unexpected 'b' at character 3"),
        ("'a' 'b'", 4, "unexpected string at character 5"),
        ("'abc", 0, "there is a string without an end at character 1"),
        ("'a\nb'", 0, "there is a string without an end at character 1"),
        ("a + #", 4, "unexpected '#' at character 5"),
        (r"'\u12'", 1, r"the escape '\u' is not allowed or incomplete"),
        (r"'ab\07'", 3, r"the escape '\0' is not allowed or incomplete"),
        (r"'\u{110000}'", 1, "there is no such character"),
        ("{'__proto__': 1}", 1, "an object cannot have the key '__proto__'"),
        ("{1}", 2, "a value is missing after '1'"),
        ("{1a: 2}", 1, "the key '1a' needs quotes"),
        ("a\ufdd0b + 1", 1, "the character U+FDD0 is not allowed"),
    ],
)
def test_refusals_say_what_and_where(text: str, position: int, reason: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert caught.value.position == position
    assert caught.value.expression == text
    assert reason is None or caught.value.reason == reason
    assert "calls are not allowed" in caught.value.hint
    assert evaluate(text, {"a": 1, "b": 1, "x": 1}) == Evaluation(UNDEFINED, caught.value.reason)


def test_a_refusal_is_raised_anew_each_time() -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(ExpressionError) as caught:
            compile_expression("a +")
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert pickle.loads(pickle.dumps(errors[0])).position == 3  # noqa: S301 - our own bytes


def test_a_text_that_is_too_long() -> None:
    compile_expression("'" + "x" * (MAX_LENGTH - 2) + "'")
    with pytest.raises(ExpressionError, match="over the limit of 4096") as caught:
        compile_expression("x" * 50_000_000)
    assert len(str(caught.value)) < 500


def nested(opening: str, closing: str, levels: int) -> str:
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ("!", ""), ("- ", ""), ("{a:", "}"), ("1?", ":2"), ("a[", "]"), ("1+(", ")")]
)
def test_a_text_that_is_nested_too_deep(opening: str, closing: str) -> None:
    evaluate(nested(opening, closing, MAX_DEPTH // 2), {"a": [1, 1]})
    with pytest.raises(ExpressionError, match="nested more than 64 levels"):
        compile_expression(nested(opening, closing, MAX_DEPTH + 1))


def test_parentheses_add_no_depth() -> None:
    assert evaluate(nested("(", ")", 2000), {}).value == 1
    assert "over the limit" in str(evaluate(nested("(", ")", 10_000), {}).reason)
    assert evaluate("(" * 4000, {}).reason == "it ends too early"


@pytest.mark.parametrize("operator", ["+", "*", "&&", "||", "??", "===", "<"])
def test_long_chains_add_no_depth(operator: str) -> None:
    assert evaluate(operator.join(["1"] * 300), {}).reason is None


@pytest.mark.parametrize("joiner", ["+", "||", ",", "."])
def test_a_text_with_too_many_parts(joiner: str) -> None:
    with pytest.raises(ExpressionError, match="more than 1000 parts"):
        compile_expression("[a" + f"{joiner}a" * MAX_PARTS + "]")


def test_too_many_dashes() -> None:
    compile_expression("-".join("a" * 40))
    with pytest.raises(ExpressionError, match="write spaces around a minus sign"):
        compile_expression("-".join("a" * 60))
    assert evaluate(" - ".join("a" * 60), {"a": 1}).value == -58


def test_a_text_result_that_is_too_long() -> None:
    half = "x" * (MAX_TEXT // 2)
    assert len(evaluate("a + a", {"a": half}).value) == MAX_TEXT
    assert evaluate("a + a + 'x'", {"a": half}).reason == f"it builds a text of more than {MAX_TEXT} characters"
    assert evaluate("'' + [a, a]", {"a": half}).reason == f"it builds a text of more than {MAX_TEXT} characters"


HEAVY: dict[str, Any] = {
    "digits": "1" * 1_000_000 + "x",
    "spaces": "x" + " " * 1_000_000 + "x",
    "wide": "\U0001f600" * 500_000,
    "list": [None] * 1_000_000,
    "numbers": list(range(150_000)),
}


@pytest.mark.parametrize(
    "text", ["+digits", "+spaces", "wide.length", "wide < 'x'", "+list", "+numbers", "'' + numbers"]
)
def test_heavy_work_ends_soon(text: str) -> None:
    # 300 times is far beyond what the budget of one evaluation allows; without it some take minutes.
    started = time.process_time()
    evaluation = evaluate("[" + ",".join([text] * 300) + "].length", HEAVY)
    assert "more text and list items" in str(evaluation.reason)
    assert time.process_time() - started < 10


def test_data_nested_deeper_than_calls_may_be() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    assert evaluate("'' + deep", {"deep": deep}) == Evaluation("")
    while deep:
        deep = deep.pop()


def test_a_list_that_contains_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "more text and list items" in str(evaluate("'' + loop", {"loop": loop}).reason)


ATTACKS = [
    "constructor.constructor('return process')()",
    "context.constructor.constructor('x')()",
    "__class__",
    "__import__('os').system('true')",
    "__builtins__",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__",
    "[].__class__.__base__",
    "context.__class__.__init__.__globals__",
    "context['__class__']['__init__']",
    "context.get('x')",
    "input.__getattribute__",
    "input.format.x",
    "globalThis.process",
    "process.env",
    "eval('1')",
    "import('os')",
    "lambda: 1",
    "{}.toString.constructor",
    "0..constructor.x",
    "x\x00y",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_come_to_nothing(text: str) -> None:
    assert evaluate(text, {"context": {"x": 1}, "input": "text"}).value is UNDEFINED


PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            "context",
            "a-b",
            "list",
            "0",
            "1.5",
            "1e5",
            "0x1F",
            ".5",
            "'s'",
            '"t"',
            "'\\u0041'",
            "null",
            "typeof ",
        ),
        *(
            "+",
            "-",
            "*",
            "/",
            "%",
            "<",
            ">",
            "=",
            "==",
            "===",
            "!",
            "!=",
            "&&",
            "||",
            "??",
            "?",
            "?.",
            ":",
            ",",
            ".",
            ";",
        ),
        *(
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            " ",
            "\n",
            "\\",
            "'",
            '"',
            "`",
            "__class__",
            "constructor",
            "new ",
            "\ud800",
            "é",
        ),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=2000, derandomize=True)
@given(text=st.text(max_size=60) | st.lists(PIECES, max_size=25).map("".join), value=VALUES)
def test_any_text_gives_a_value_or_a_reason(text: str, value: Any) -> None:
    scope = {"a": value, "b": 2, "list": [value], "context": {"a": value}, "constructor": value}
    evaluation = evaluate(text, scope)
    assert evaluation.reason is None or evaluation.value is UNDEFINED
    refusal = refusal_of(text)
    if refusal is not None:
        assert evaluation == Evaluation(UNDEFINED, refusal.reason)
        assert refusal.position is None or 0 <= refusal.position <= len(text)


def refusal_of(text: str) -> ExpressionError | None:
    try:
        compile_expression(text)
    except ExpressionError as error:
        return error
    return None


@settings(max_examples=200, deadline=2000, derandomize=True)
@given(
    left=VALUES, right=VALUES, operator=st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", "==", "===", "&&", "??"])
)
def test_any_values_can_be_combined(left: Any, right: Any, operator: str) -> None:
    assert evaluate(f"left {operator} right", {"left": left, "right": right}).reason is None
    negated = evaluate("left !== right", {"left": left, "right": right}).value
    assert negated is not evaluate("left === right", {"left": left, "right": right}).value
