"""Expressions: every case tests several conditions, or several transforms, on the output of a node `c`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.drafting import Blueprint, Draft, Rule, const, draft, echo, flow

RULES = (
    Rule("expressions.comparison", "`<`, `<=`, `>`, `>=` compare as in JavaScript.", "Texts are compared as numbers."),
    Rule(
        "expressions.equality",
        "`===`, `!==`, `==` and `!=` with JavaScript's conversions.",
        "`true` equals 1 strictly; null equals 0; Python's equality is used.",
    ),
    Rule("expressions.logic", "`&&`, `||` and `!` give JavaScript's values.", "They give booleans, not operands."),
    Rule("expressions.arithmetic", "Arithmetic is that of doubles, with conversions.", "Python's `%` or `//` is used."),
    Rule("expressions.text", "`+` joins texts when one side is a text.", "Numbers are written as Python writes them."),
    Rule(
        "expressions.conditional", "The conditional operator.", "It binds too tightly, or both branches are evaluated."
    ),
    Rule("expressions.member", "Member access by name and by brackets.", "Indexes, `length` or spaces do not work."),
    Rule("expressions.literals", "Numbers, texts, `true`, `false`, `null` and `undefined`.", "Escapes, exponents."),
    Rule("expressions.precedence", "Operators bind as in JavaScript.", "`||` and `&&` on one level; `!` too wide."),
    Rule("expressions.paths", "Property paths as in the peer's default evaluator.", "Numeric segments are refused."),
    Rule(
        "expressions.scope.condition",
        "Conditions see context keys, node ids once they ran, `context` and `result`.",
        "Node ids or `context` are unknown; a node that has not run is null.",
    ),
    Rule(
        "expressions.scope.transform",
        "Transforms see `input` and `context`, and no bare names.",
        "Bare context keys and node ids work in transforms.",
    ),
    Rule(
        "expressions.unknown-name",
        "An unknown bare name makes the whole expression undefined.",
        "It is undefined by itself, so that `!nosuch` or `nosuch === undefined` holds.",
    ),
    Rule(
        "expressions.member-of-nothing",
        "A member of null or undefined makes the whole expression undefined.",
        "It is undefined by itself, so that its negation holds; or the run fails.",
    ),
    Rule("expressions.absence", "`context.name` tests for absence.", "An absent key makes the expression undefined."),
    Rule("expressions.truthiness", "JavaScript's truth.", "Empty lists and objects are false, `'0'` is false."),
    Rule("expressions.doubles", "Numbers are doubles.", "Integers of any size; decimal arithmetic."),
    Rule(
        "expressions.lazy",
        "What JavaScript does not evaluate cannot make the whole undefined.",
        "An unknown name behind a decided `||` breaks the expression.",
    ),
)

_DATA = {
    "n": 5,
    "zero": 0,
    "t": "x",
    "yes": True,
    "no": False,
    "none": None,
    "list": [7, 0, 4],
    "deep": {"a": {"b": 1}},
}


def _conditions(
    rule: str,
    label: str,
    wanted: Mapping[str, bool],
    *,
    value: object = _DATA,
    context: Mapping[str, object] | None = None,
) -> Draft:
    names = [f"t{index}" for index in range(len(wanted))]
    lines = [f"c > {name} {{{text}}}" for name, text in zip(names, wanted, strict=True)]
    ran = {name: int(holds) for name, holds in zip(names, wanted.values(), strict=True)}
    blueprint: Blueprint = flow([const("c", value), *[const(name, 1) for name in names]], *lines)
    return draft(f"expressions.{rule}", label, blueprint, {"ran": ran}, context=context)


def _transforms(
    rule: str,
    label: str,
    wanted: Mapping[str, object],
    *,
    value: object = _DATA,
    context: Mapping[str, object] | None = None,
) -> Draft:
    names = [f"t{index}" for index in range(len(wanted))]
    lines = [f"c > {name} | {text}" for name, text in zip(names, wanted, strict=True)]
    blueprint = flow([const("c", value), *[echo(name) for name in names]], *lines)
    outputs = dict(zip(names, wanted.values(), strict=True))
    return draft(f"expressions.{rule}", label, blueprint, {"outputs": outputs}, context=context)


DRAFTS: tuple[Draft, ...] = (
    _conditions("comparison", "numbers", {"c.n > 4": True, "c.n >= 5": True, "c.n < 5": False, "c.n <= 4": False}),
    _conditions(
        "comparison",
        "texts",
        {
            '"b" > "a"': True,
            '"10" < "9"': True,
            '"a" < "B"': False,
            '"" < "a"': True,
            '10 < "9"': False,
            '"9" < 10': True,
        },
    ),
    _conditions(
        "comparison",
        "conversions",
        {
            "null >= 0": True,
            "null > 0": False,
            "undefined >= 0": False,
            "undefined < 1": False,
            "true > 0": True,
            '"abc" < 1': False,
            '"abc" >= 1': False,
            '" 12 " > 11': True,
            "c.list > 1": False,
        },
    ),
    _conditions(
        "equality",
        "strict",
        {
            "1 === 1.0": True,
            '1 === "1"': False,
            "true === 1": False,
            "null === undefined": False,
            "c.none === null": True,
            "c.yes !== true": False,
            "c.t === 'x'": True,
            "c.q === undefined": True,
        },
    ),
    _conditions(
        "equality",
        "loose",
        {
            '1 == "1"': True,
            "true == 1": True,
            'true == "true"': False,
            "null == undefined": True,
            "null == 0": False,
            '"" == 0': True,
            'undefined == ""': False,
            '"0" == false': True,
            '1 != "1"': False,
        },
    ),
    _conditions(
        "equality",
        "lists-and-objects",
        {'c.list == "7,0,4"': True, 'c.deep == "[object Object]"': True, "c.list == 7": False, "c.list != null": True},
    ),
    _transforms(
        "logic",
        "and",
        {"input.n && input.t": "x", "input.zero && input.t": 0, "input.none && 1": None, "input.t && input.none": None},
    ),
    _transforms(
        "logic",
        "or",
        {"input.n || 1": 5, "input.zero || 'd'": "d", "input.no || input.none": None, "'' || 0 || false": False},
    ),
    _transforms(
        "logic",
        "not",
        {"!input.n": False, "!!input.n": True, "!input.list": False, "!''": True, "!input.q": True, "!!'0'": True},
    ),
    _transforms(
        "arithmetic",
        "operators",
        {
            "input.n + 2": 7,
            "input.n - 7": -2,
            "input.n * 1.5": 7.5,
            "input.n / 2": 2.5,
            "input.n % 3": 2,
            "-input.n": -5,
        },
    ),
    _transforms(
        "arithmetic",
        "signs",
        {"-7 % 3": -1, "7 % -3": 1, "5.5 % 2": 1.5, "+'3'": 3, "-'3' - -1": -2, "1 - -1": 2},
    ),
    _transforms(
        "arithmetic",
        "conversions",
        {
            "'6' * '7'": 42,
            "true + true": 2,
            "null + 1": 1,
            "'10' - 1": 9,
            "false - 1": -1,
            "'' * 5": 0,
            "'0x10' * 1": 16,
        },
    ),
    _transforms(
        "arithmetic",
        "without-a-number",
        {
            "'' + (0 / 0)": "NaN",
            "'' + (1 / 0)": "Infinity",
            "'' + (-1 / 0)": "-Infinity",
            "undefined + 1 === undefined + 1": False,
            "'' + ('a' * 1)": "NaN",
            "(0 / 0) || 'none'": "none",
        },
    ),
    _transforms(
        "text",
        "joining",
        {"input.t + 1": "x1", "1 + '2'": "12", "1 + 2 + '3'": "33", "'1' + 2 + 3": "123", "input.t + input.t": "xx"},
    ),
    _transforms(
        "text",
        "of-values",
        {
            "'' + true": "true",
            "'' + null": "null",
            "'' + input.q": "undefined",
            "'' + input.list": "7,0,4",
            "'' + input.deep": "[object Object]",
            "input.list + 1": "7,0,41",
        },
    ),
    _transforms(
        "text",
        "of-numbers",
        {
            "'' + 2.0": "2",
            "'' + 0.1": "0.1",
            "'' + 1e21": "1e+21",
            "'' + 1e-7": "1e-7",
            "'' + 123456789012": "123456789012",
            "'' + -0.5": "-0.5",
            "'' + 100 / 3": "33.333333333333336",
            "'' + (100 / 8)": "12.5",
        },
        value={"n": 1},
    ),
    _transforms("conditional", "chosen", {"input.n > 3 ? 'big' : 'small'": "big", "input.zero ? 1 : 2": 2}),
    _transforms(
        "conditional",
        "nested",
        {
            "input.n > 9 ? 'a' : input.n > 4 ? 'b' : 'c'": "b",
            "input.n > 4 ? input.n > 9 ? 'a' : 'b' : 'c'": "b",
            "(input.no ? 1 : 2) + 1": 3,
        },
    ),
    _transforms(
        "conditional",
        "lowest-precedence",
        {"input.no || input.yes ? 1 : 2": 1, "input.no ? 1 : 2 + 3": 5, "1 + 1 ? 'y' : 'n'": "y"},
    ),
    _transforms(
        "member",
        "brackets",
        {
            "input['t']": "x",
            'input["deep"].a["b"]': 1,
            "input.list[0]": 7,
            "input.list[1 + 1]": 4,
            "input[input.t]": None,
        },
    ),
    _transforms(
        "member",
        "length",
        {
            "input.list.length": 3,
            "input.t.length": 1,
            "input.list[input.list.length - 1]": 4,
            "input.deep.length": None,
        },
    ),
    _transforms(
        "member",
        "missing",
        {
            "input.q": None,
            "input.list[9]": None,
            "input.n.x": None,
            "input.yes.x": None,
            "input.t[0]": "x",
            "input.t[4]": None,
        },
    ),
    _transforms(
        "member",
        "names-with-blanks",
        {'input["a b"]': 1, 'context["k-1"]': 2, 'context["_outputs.c"]["a b"]': 1},
        value={"a b": 1},
        context={"k-1": 2},
    ),
    _transforms("literals", "numbers", {"1": 1, "2.5": 2.5, ".5": 0.5, "1e3": 1000, "0x1F": 31, "1.5e-1": 0.15}),
    _transforms(
        "literals",
        "texts",
        {
            "'a\"b'": 'a"b',
            '"a\'b"': "a'b",
            "'it\\'s'": "it's",
            "'\\u00e9'": "é",
            "'a\\nb'": "a\nb",
            "''": "",
            "'ü'": "ü",
        },
    ),
    _transforms("literals", "words", {"true": True, "false": False, "null": None, "undefined": None}),
    _transforms(
        "precedence",
        "arithmetic",
        {"2 + 3 * 4": 14, "(2 + 3) * 4": 20, "10 - 4 - 3": 3, "24 / 4 / 2": 3, "2 * 3 % 4": 2, "-2 * -3": 6},
    ),
    _transforms(
        "precedence",
        "comparison-and-logic",
        {
            "1 < 2 === true": True,
            "1 + 1 === 2": True,
            "true || false && false": True,
            "(true || false) && false": False,
            "!input.no && input.yes": True,
            "!(input.no || input.yes)": False,
            "3 > 2 > 1": False,
        },
    ),
    _transforms(
        "precedence",
        "not-binds-tightly",
        {"!input.n === false": True, "!input.zero + 1": 2, "-input.n + 5": 0, "!1 == 0": True},
    ),
    _conditions(
        "paths",
        "result",
        {"result.output.n": True, "result.output.zero": False, "result.output.deep.a.b": True, "result.action": False},
    ),
    _conditions(
        "paths",
        "list-members",
        {
            "result.output.list.0": True,
            "result.output.list.1": False,
            "result.output.list.length": True,
            "c.list.2": True,
        },
    ),
    _conditions(
        "paths",
        "context-keys",
        {"flags.on": True, "flags.off": False, "flags.nested.deep": True, "$money": True, "_under.x": False},
        context={"flags": {"on": 1, "off": 0, "nested": {"deep": "y"}}, "$money": 3, "_under": {"x": 0}},
    ),
    _conditions(
        "scope.condition",
        "keys-and-nodes",
        {
            "k > 1": True,
            "c.n === 5": True,
            "context.k === 2": True,
            "context.c.n === 5": True,
            'context["k"] + 1 === 3': True,
        },
        context={"k": 2},
    ),
    draft(
        "expressions.scope.condition",
        "node-that-has-not-run",
        flow(
            [const("a", 1), const("b", 2), const("x", 1), const("y", 1), const("z", 1)],
            "a > b {1 === 2}",
            "a > x {b === undefined}",
            "a > y {context.b === undefined}",
            "a > z {!b}",
        ),
        {"ran": {"b": 0, "x": 0, "y": 1, "z": 0}},
    ),
    draft(
        "expressions.scope.condition",
        "key-of-the-same-name",
        flow(
            [const("a", 2), const("b", 3), const("x", 1), const("y", 1), const("z", 1)],
            "a > x {a === 2}",
            "a > y {context.a === 1}",
            "a > z {b === 7}",
            "z > b",
        ),
        {"ran": {"x": 1, "y": 0, "z": 1, "b": 1}},
        context={"a": 1, "b": 7},
    ),
    draft(
        "expressions.scope.condition",
        "earlier-node",
        flow(
            [const("a", {"total": 29}), echo("b"), const("x", 1), const("y", 1)],
            "a > b > x {a.total > 28}",
            "b > y {a.total > 29}",
        ),
        {"ran": {"x": 1, "y": 0}},
    ),
    _conditions(
        "scope.condition",
        "input-is-unknown",
        {"input": False, "input === undefined": False, "context.input === undefined": True},
    ),
    _transforms(
        "scope.transform",
        "input-and-context",
        {"input.n + context.k": 7, "context.c.t": "x", "context['_outputs.c'].n": 5},
        context={"k": 2},
    ),
    _transforms(
        "scope.transform",
        "no-bare-names",
        {"k": None, "k + 1": None, "c.n": None, "k === undefined": None, "input.n": 5},
        context={"k": 2},
    ),
    _transforms(
        "scope.transform",
        "no-result",
        {"result.output.n": None, "result === undefined": None, "context.result === undefined": True},
    ),
    _conditions(
        "unknown-name",
        "not-taken",
        {
            "nosuch": False,
            "!nosuch": False,
            "nosuch === undefined": False,
            "nosuch == null": False,
            "nosuch !== 1": False,
        },
    ),
    _conditions(
        "unknown-name",
        "poisons-the-whole",
        {"nosuch || true": False, "1 + (nosuch ? 1 : 2)": False, "c.list[nosuch] === undefined": False, "true": True},
    ),
    _transforms(
        "unknown-name",
        "in-a-transform",
        {"'a' + nosuch": None, "!nosuch": None, "nosuch ? 1 : 2": None},
    ),
    _conditions(
        "member-of-nothing",
        "not-taken",
        {"!c.none.x": False, "!c.q.x": False, "c.q.x === undefined": False, "c.none.x.y == null": False, "!c.q": True},
    ),
    _conditions(
        "member-of-nothing",
        "poisons-the-whole",
        {
            "c.none.x || true": False,
            "!(c.n.x.y > 3)": False,
            "c.list[9].a !== 1": False,
            "c.deep.q === undefined": True,
        },
    ),
    _transforms(
        "member-of-nothing",
        "in-a-transform",
        {"'a' + input.none.x": None, "input.q['x']": None, "input.q + 'a'": "undefineda"},
    ),
    _conditions(
        "absence",
        "keys",
        {
            "context.nosuch === undefined": True,
            "!context.nosuch": True,
            "context.k === undefined": False,
            "!context.k": False,
        },
        context={"k": 1},
    ),
    _conditions(
        "absence",
        "null-is-not-absent",
        {
            "context.k === undefined": False,
            "context.k === null": True,
            "context.k == undefined": True,
            "k === null": True,
        },
        context={"k": None},
    ),
    _transforms(
        "absence",
        "default",
        {"context.nosuch || 'd'": "d", "context.nosuch === undefined ? 1 : 2": 1, "context['no such'] || 3": 3},
    ),
    _conditions(
        "truthiness",
        "values",
        {"result.output.e": True, "result.output.o": True, "result.output.s": True, "result.output.z": False},
        value={"e": [], "o": {}, "s": "0", "z": 0},
    ),
    _conditions(
        "truthiness",
        "more-values",
        {"c.a": False, "c.b": True, "c.d": False, "c.e": True, "c.f": True, "c.g": False},
        value={"a": "", "b": " ", "d": None, "e": [0], "f": -1, "g": False},
    ),
    _conditions(
        "truthiness",
        "computed",
        {
            "0 / 0": False,
            "1 / 0": True,
            "c.n - 5": False,
            "-0": False,
            "'' + 0": True,
            "c.list": True,
            "undefined": False,
        },
    ),
    _transforms("doubles", "fractions", {"0.1 + 0.2": 0.1 + 0.2, "0.1 + 0.2 === 0.3": False, "3 / 2": 1.5, "6 / 2": 3}),
    _transforms(
        "doubles",
        "big",
        {
            "9007199254740992 + 1": 9007199254740992,
            "9007199254740993 === 9007199254740992": True,
            "1e308 * 10 > 1e308": True,
        },
    ),
    _transforms(
        "doubles",
        "written-as-integers",
        {"input.n * 1.0": 5, "'' + input.n * 1.0": "5", "10 / 2 + ''": "5", "'' + (-0)": "0", "1e3 + ''": "1000"},
    ),
    _conditions(
        "lazy",
        "decided",
        {"true || nosuch": True, "false && nosuch": False, "!(false && nosuch)": True, "c.n || c.none.x": True},
    ),
    _transforms(
        "lazy",
        "other-branch",
        {
            "true ? 1 : nosuch": 1,
            "input.no ? input.none.x : 2": 2,
            "context.q && context.q.r": None,
            "input.t || nosuch": "x",
        },
    ),
    _conditions(
        "lazy",
        "guards",
        {
            "context.q && context.q.r > 1": False,
            "!(context.q && context.q.r > 1)": True,
            "!context.q || context.q.r": True,
        },
    ),
)
