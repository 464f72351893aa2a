"""Writes ``javascript_truth.json``: what JavaScript makes of generated expressions.

Run from the project root, with node (18 or later) on the path, whenever the generator changes::

    python tests/unit/engine/expression/generate_truth.py

The seed is fixed, so the same generator writes the same file. The tests read the file and need no node.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

SEED = 20240601
RANDOM_EXPRESSIONS = 700
OPERATOR_PAIRS = 1000

SCOPE: dict[str, Any] = {
    "n": 7,
    "f": 2.5,
    "neg": -3,
    "zero": 0,
    "big": 9007199254740993,
    "s": "x",
    "padded": " 12 ",
    "empty": "",
    "hex": "0x1f",
    "emoji": "a\U0001f600b",
    "high": "\uffee",
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [1, "2", None, [3, 4]],
    "one": [5],
    "none": [],
    "obj": {"a": 1, "b": {"c": "deep", "d": None}, "a-b": 3, "0": "zero", "length": 9},
    "users": [{"name": "Ada", "age": 36}, {"name": "Bob"}],
}
UNKNOWN_NAMES = ["unknown", "nosuch"]
MEMBERS = ["a", "b", "c", "d", "name", "age", "length", "missing", "_x", "$y"]
KEYS = [
    "'a'",
    '"a-b"',
    "0",
    "1",
    "3",
    "'1'",
    "-1",
    "1.5",
    "'length'",
    "zero",
    "'missing'",
    "null",
    "[0]",
    "true",
    "1e0",
]
LITERALS = [
    *("0", "1", "2", "-1", "3.5", "1e3", "0x1F", "1e21", "1e-7", ".5", "5.", "0b101", "0o17"),
    *("''", '"x"', "'10'", '"9"', "' 7 '", "'a\\u0041\\n'", "'true'", "'\\u{1F600}'", "'\\x41'"),
    *("true", "false", "null", "undefined", "NaN", "Infinity", "[]", "[1]", "[1, 2]", "{}", "{a: 1, 'b': [2]}", "[[]]"),
]
BINARY = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "===", "!=="]
LOGICAL = ["&&", "||", "??"]
NUMBER_TEXTS = [
    *(
        "",
        " ",
        "\t\n",
        "0",
        "-0",
        "+5",
        "--5",
        "1_000",
        "1e5",
        "1E+5",
        "1e",
        ".",
        ".5",
        "5.",
        "-.5e-1",
        "0x",
        "0xfF",
        "-0xf",
    ),
    *(
        "0b11",
        "0b2",
        "0o77",
        "0O8",
        "Infinity",
        "-Infinity",
        "+Infinity",
        "infinity",
        "NaN",
        "1 2",
        "12px",
        "1,2",
        "\u0661",
    ),
    *("\u00a01\u2003", "\ufeff2", "\u00853", "9007199254740993", "1e400", "1" * 400, "0." + "1" * 40, "null", "true"),
]

CODE_UNITS = [
    "'\\u{1F600}' < high",
    "high >= '\\u{1F600}'",
    "'\\ud83d' + '\\ude00' === '\\u{1F600}'",
    "'\\ud83d\\ude00' === emoji[1] + emoji[2]",
    "emoji.length + emoji[3]",
    "emoji[1] < high",
]

# Runs each text as a function of the scope's names, in strict mode. Not part of the product.
SCRIPT = r"""
const { scope, texts } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const names = Object.keys(scope);
const seen = (v) => {
  if (v === undefined) return { $: 'undefined' };
  if (typeof v === 'number' && !Number.isFinite(v)) return { $: String(v) };
  if (Array.isArray(v)) return v.map(seen);
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, m]) => [k, seen(m)]));
  return v;
};
const outcomes = texts.map((text) => {
  let run;
  try {
    run = new Function(...names, '"use strict"; return (' + text + '\n)');
  } catch (error) {
    return { refused: error.name };
  }
  try {
    return { value: seen(run(...names.map((name) => scope[name]))) };
  } catch (error) {
    return { aborted: error.name };
  }
});
process.stdout.write(JSON.stringify(outcomes));
"""


class Generator:
    """Random expressions, some of them with unknown names, members of null, or wrong syntax."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def expression(self, depth: int) -> str:
        """An expression nested at most ``depth`` deep."""
        kind = self._random.choices(
            ["atom", "unary", "binary", "logical", "conditional", "member", "parenthesis", "list", "object"],
            [3, 2, 6, 3, 2, 4, 2, 1, 1] if depth > 0 else [4, 0, 0, 0, 0, 2, 0, 0, 0],
        )[0]
        return str(getattr(self, f"_{kind}")(depth - 1))

    def _atom(self, _depth: int) -> str:
        names = list(SCOPE) if self._random.random() < 0.96 else UNKNOWN_NAMES
        return self._random.choice(names if self._random.random() < 0.6 else LITERALS)

    def _unary(self, depth: int) -> str:
        operator = self._random.choice(["!", "!!", "- ", "+ ", "typeof "])
        operand = self.expression(depth)
        # JavaScript excuses an unknown name right behind typeof; here it makes the whole expression undefined.
        if operator == "typeof " and operand.lstrip("( ").startswith(tuple(UNKNOWN_NAMES)):
            operand = "n"
        return operator + operand

    def _binary(self, depth: int) -> str:
        operator = self._random.choice(BINARY)
        right = self.expression(depth)
        # Without spaces "a - -b" would be a decrement, which only JavaScript knows.
        space = " " if right[0] in "+-" or self._random.random() < 0.7 else ""
        return f"{self.expression(depth)}{space}{operator}{space}{right}"

    def _logical(self, depth: int) -> str:
        return f"{self.expression(depth)} {self._random.choice(LOGICAL)} {self.expression(depth)}"

    def _conditional(self, depth: int) -> str:
        return f"{self.expression(depth)} ? {self.expression(depth)} : {self.expression(depth)}"

    def _member(self, depth: int) -> str:
        text = self._random.choice(["obj", "list", "users", "s", "emoji", "n", "one", "obj.b", "users[0]", "users[1]"])
        if depth > 0 and self._random.random() < 0.1:
            text = f"({self.expression(depth)})"
        for _ in range(self._random.choice([1, 1, 1, 2, 3])):
            name, key = self._random.choice(MEMBERS), self._random.choice(KEYS)
            text += self._random.choice([f".{name}", f".{name}", f"[{key}]", f"[{key}]", f"?.{name}", f"?.[{key}]"])
        return text

    def _parenthesis(self, depth: int) -> str:
        return f"({self.expression(depth)})"

    def _list(self, depth: int) -> str:
        return f"[{', '.join(self.expression(depth) for _ in range(self._random.randint(0, 3)))}]"

    def _object(self, depth: int) -> str:
        return f"{{a: {self.expression(depth)}, 'k k': {self.expression(depth)}, 3: {self.expression(depth)}}}"


def collect_texts() -> list[str]:
    """All expressions, each once, in a fixed order."""
    generator, chooser = Generator(SEED), random.Random(SEED)
    texts = [generator.expression(4) for _ in range(RANDOM_EXPRESSIONS)]
    operands = [*SCOPE, *LITERALS, "obj.missing"]
    pairs = [f"{left} {operator} {right}" for left in operands for operator in BINARY for right in operands]
    texts += chooser.sample(pairs, OPERATOR_PAIRS)
    texts += CODE_UNITS
    texts += [f"+{json.dumps(text)}" for text in NUMBER_TEXTS]
    numbers = [chooser.uniform(-10, 10) * 10.0 ** chooser.randint(-25, 25) for _ in range(60)]
    texts += [
        f"'' + {number!r}" for number in [*numbers, 5e-324, 1.7976931348623157e308, 123456789012345680000.0, 1e21]
    ]
    texts += [f"-{abs(number)!r} % {divisor!r}" for number, divisor in zip(numbers[:20], numbers[20:40], strict=True)]
    return list(dict.fromkeys(texts))


def ask_node(texts: list[str]) -> list[dict[str, Any]]:
    """What node makes of each text."""
    question = json.dumps({"scope": SCOPE, "texts": texts})
    answer = subprocess.run(["node", "-e", SCRIPT], input=question, capture_output=True, text=True, check=True)
    outcomes: list[dict[str, Any]] = json.loads(answer.stdout)
    return outcomes


def main() -> None:
    """Write the file beside this one, one case a line."""
    texts = collect_texts()
    lines = [json.dumps([text, outcome]) for text, outcome in zip(texts, ask_node(texts), strict=True)]
    cases = ",\n".join(lines)
    target = Path(__file__).with_name("javascript_truth.json")
    target.write_text(f'{{"scope": {json.dumps(SCOPE)},\n"cases": [\n{cases}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
