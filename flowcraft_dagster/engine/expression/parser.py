"""From text to parts, by an LALR parser whose stack is a list: no text can exhaust Python's call stack.

Lark is imported and the grammar compiled at the first expression that needs them, which takes 0.1 s: most programs only
import this package, and most expressions are plain paths.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from flowcraft_dagster.engine.expression.complaints import explain
from flowcraft_dagster.engine.expression.conversions import parse_number, tidy
from flowcraft_dagster.engine.expression.dashes import KEY_DASH
from flowcraft_dagster.engine.expression.operators import BINARY_OPERATORS
from flowcraft_dagster.engine.expression.paths import LITERAL_NAMES, read_path
from flowcraft_dagster.engine.expression.strings import read_string
from flowcraft_dagster.engine.expression.syntax import (
    Chain,
    Choice,
    Conditional,
    ListLiteral,
    Literal,
    Name,
    ObjectLiteral,
    Operation,
    Part,
    Refusal,
    Step,
    Unary,
)
from flowcraft_dagster.engine.values import format_number

if TYPE_CHECKING:
    from lark import Lark, Token


def parse(text: str) -> Part:
    """Compile an expression whose dashed keys are marked.

    Raises:
        Refusal: the text is no expression, or is over a limit.
    """
    path = read_path(text)
    if path is not None:
        return path
    from lark.exceptions import UnexpectedInput

    try:
        # The builder makes the parser return parts, not the trees that its signature names.
        return cast("Part", _parser().parse(text))
    except UnexpectedInput as error:
        position = _position(error, text)
        raise Refusal(explain(text, position), position) from None


@functools.lru_cache(maxsize=1)
def _parser() -> Lark:
    from importlib import resources

    from lark import Lark

    grammar = resources.files(__package__).joinpath("javascript.lark").read_text("utf-8")
    builder = cast("Any", _Builder())
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=builder, maybe_placeholders=False)


def _position(error: Any, text: str) -> int:
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return len(text)
    position = error.pos_in_stream
    return len(text) if position is None else int(position)


class _Builder:
    """Makes a part of each grammar rule, called by the parser with the rule's children from the inside out."""

    def name(self, children: list[Token]) -> Part:
        return _name(str(children[0]))

    def number(self, children: list[Token]) -> Part:
        return Literal(tidy(parse_number(children[0])))

    def string(self, children: list[Token]) -> Part:
        return Literal(_string(children[0]))

    def list_literal(self, children: list[Part]) -> Part:
        return ListLiteral(children)

    def object_literal(self, children: list[tuple[str, Part]]) -> Part:
        return ObjectLiteral(children)

    def keyed(self, children: tuple[Token, Part]) -> tuple[str, Part]:
        token, value = children
        key = _string(token) if token.type == "STRING" else _literal_key(token)
        if key == "__proto__":
            raise Refusal("an object cannot have the key '__proto__'", token.start_pos)
        return key, value

    def shorthand(self, children: list[Token]) -> tuple[str, Part]:
        token = children[0]
        if token[0].isdigit() or token in LITERAL_NAMES:
            raise Refusal(f"a value is missing after '{token}'", token.end_pos)
        return str(token), _name(str(token))

    def member(self, children: list[Token]) -> Step:
        return Step(str(children[0]))

    def optional_member(self, children: list[Token]) -> Step:
        return Step(str(children[0]), optional=True)

    def index(self, children: list[Part]) -> Step:
        return _indexed(children[0], optional=False)

    def optional_index(self, children: list[Part]) -> Step:
        return _indexed(children[0], optional=True)

    def members(self, children: list[Any]) -> Part:
        start, *steps = children
        return Chain(start, steps)

    def prefixed(self, children: tuple[Token, Part]) -> Part:
        operator, operand = children
        return Unary(str(operator), operand)

    def operation(self, children: list[Any]) -> Part:
        operators = (BINARY_OPERATORS[operator] for operator in children[1::2])
        return Operation(children[0], list(zip(operators, children[2::2], strict=True)))

    def all_of(self, children: list[Part]) -> Part:
        return Choice("&&", children)

    def any_of(self, children: list[Part]) -> Part:
        return Choice("||", children)

    def coalesced(self, children: list[Part]) -> Part:
        return Choice("??", children)

    def conditional(self, children: tuple[Part, Part, Part]) -> Part:
        return Conditional(*children)


def _name(word: str) -> Part:
    if word in LITERAL_NAMES:
        return Literal(LITERAL_NAMES[word])
    return Name(word.replace(KEY_DASH, "-"))


def _string(token: Token) -> str:
    return read_string(token, token.start_pos or 0)


def _literal_key(token: Token) -> str:
    """The key that an unquoted word in an object means; numbers are written as JavaScript does."""
    if not token[0].isdigit():
        return str(token)
    part = read_path(token)
    if not isinstance(part, Literal):
        raise Refusal(f"the key '{token}' needs quotes", token.start_pos)
    return format_number(part.value)


def _indexed(key: Part, *, optional: bool) -> Step:
    fixed = isinstance(key, Literal) and isinstance(key.value, str)
    return Step(cast("Literal", key).value if fixed else key, optional)
