"""A recursive-descent interpreter of the expressions in conditions and transforms.

It reads the text once and evaluates while reading. Parts that JavaScript would not evaluate (the right side of a
decided `&&` or `||`, the other branch of `?:`) are read with `live=False`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from tests.oracle.values import (
    UNDEFINED,
    is_nothing,
    less,
    loosely_equal,
    primitive,
    strictly_equal,
    text,
    to_number,
    truthy,
)

Lookup = Callable[[str], object]

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SEGMENT = re.compile(r"[A-Za-z0-9_$]+")
_LITERALS: dict[str, object] = {"true": True, "false": False, "null": None, "undefined": UNDEFINED}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("===", "!==", "==", "!="),
    ("<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/", "%"),
)


class NoValueError(Exception):
    """The expression as a whole is undefined."""


def evaluate(source: str, lookup: Lookup) -> object:
    """Evaluate an expression.

    Args:
        source: The text.
        lookup: Gives the value of a bare name, or raises `NoValueError` when nothing has that name.

    Returns:
        Its value; undefined when it is malformed, uses an unknown name or reads a member of null or undefined.
    """
    reader = _Reader(source, lookup)
    try:
        value = reader.conditional(live=True)
        reader.skip()
        return value if reader.at == len(source) else UNDEFINED
    except NoValueError:
        return UNDEFINED


def member(owner: object, key: object) -> object:
    """Read `owner[key]`."""
    if is_nothing(owner):
        raise NoValueError
    name = text(key)
    if isinstance(owner, dict):
        return owner.get(name, UNDEFINED)
    if isinstance(owner, (list, str)):
        if name == "length":
            return len(owner) if isinstance(owner, list) else len(owner.encode("utf-16-be", "surrogatepass")) // 2
        if re.fullmatch(r"0|[1-9]\d*", name) and int(name) < len(owner):
            item: object = owner[int(name)]
            return item
    return UNDEFINED


class _Reader:
    def __init__(self, source: str, lookup: Lookup) -> None:
        self.source = source
        self.lookup = lookup
        self.at = 0

    def skip(self) -> None:
        while self.at < len(self.source) and self.source[self.at].isspace():
            self.at += 1

    def accept(self, *tokens: str) -> str | None:
        self.skip()
        for token in tokens:
            if self.source.startswith(token, self.at):
                self.at += len(token)
                return token
        return None

    def expect(self, token: str) -> None:
        if self.accept(token) is None:
            raise NoValueError

    def conditional(self, *, live: bool) -> object:
        test = self.either(live=live)
        if self.accept("?") is None:
            return test
        chosen = truthy(test)
        first = self.conditional(live=live and chosen)
        self.expect(":")
        second = self.conditional(live=live and not chosen)
        return first if chosen else second

    def either(self, *, live: bool) -> object:
        value = self.both(live=live)
        while self.accept("||"):
            decided = truthy(value)
            right = self.both(live=live and not decided)
            value = value if decided else right
        return value

    def both(self, *, live: bool) -> object:
        value = self.binary(0, live=live)
        while self.accept("&&"):
            decided = not truthy(value)
            right = self.binary(0, live=live and not decided)
            value = value if decided else right
        return value

    def binary(self, level: int, *, live: bool) -> object:
        if level == len(_LEVELS):
            return self.unary(live=live)
        value = self.binary(level + 1, live=live)
        while True:
            operator = self.accept(*_LEVELS[level])
            if operator is None:
                return value
            right = self.binary(level + 1, live=live)
            value = _apply(operator, value, right) if live else UNDEFINED

    def unary(self, *, live: bool) -> object:
        self.skip()
        if self.source.startswith("!", self.at) and not self.source.startswith("!=", self.at):
            self.at += 1
            return not truthy(self.unary(live=live))
        sign = self.accept("-", "+")
        if sign is not None:
            number = to_number(self.unary(live=live))
            return -number if sign == "-" else number
        return self.postfix(live=live)

    def postfix(self, *, live: bool) -> object:
        value = self.primary(live=live)
        while True:
            mark = self.accept(".", "[")
            if mark is None:
                return value
            key: object
            if mark == ".":
                key = self.match(_SEGMENT)
            else:
                key = self.conditional(live=live)
                self.expect("]")
            value = member(value, key) if live else UNDEFINED

    def match(self, pattern: re.Pattern[str]) -> str:
        self.skip()
        found = pattern.match(self.source, self.at)
        if found is None:
            raise NoValueError
        self.at = found.end()
        return found.group()

    def primary(self, *, live: bool) -> object:
        if self.accept("("):
            value = self.conditional(live=live)
            self.expect(")")
            return value
        quote = self.accept('"', "'")
        if quote is not None:
            return self.string(quote)
        self.skip()
        if _NUMBER.match(self.source, self.at):
            digits = self.match(_NUMBER)
            return float(int(digits, 16)) if digits[:2] in ("0x", "0X") else float(digits)
        name = self.match(_NAME)
        if name in _LITERALS:
            return _LITERALS[name]
        return self.lookup(name) if live else UNDEFINED

    def string(self, quote: str) -> str:
        parts: list[str] = []
        while self.at < len(self.source):
            char = self.source[self.at]
            self.at += 1
            if char == quote:
                return "".join(parts)
            if char == "\\":
                code = self.source[self.at : self.at + 1]
                self.at += 1
                if code == "u":
                    char = chr(int(self.source[self.at : self.at + 4], 16))
                    self.at += 4
                else:
                    char = _ESCAPES.get(code, code)
            parts.append(char)
        raise NoValueError


def _apply(operator: str, left: object, right: object) -> object:
    if operator in ("===", "!=="):
        return strictly_equal(left, right) == (operator == "===")
    if operator in ("==", "!="):
        return loosely_equal(left, right) == (operator == "==")
    if operator in ("<", "<="):
        return less(left, right, or_equal=operator == "<=")
    if operator in (">", ">="):
        return less(right, left, or_equal=operator == ">=")
    if operator == "+":
        left, right = primitive(left), primitive(right)
        if isinstance(left, str) or isinstance(right, str):
            return text(left) + text(right)
    return _arithmetic(operator, to_number(left), to_number(right))


def _arithmetic(operator: str, left: float, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "/":
        if right != 0:
            return left / right
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    if right == 0 or math.isinf(left) or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.fmod(left, right)
