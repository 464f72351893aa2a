"""String literals: from quotes and escapes to text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from flowcraft_dagster.engine.expression.syntax import Refusal

_SIMPLE: Final[Mapping[str, str]] = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LINE_ENDS: Final = ("\r\n", "\n", "\r", "\u2028", "\u2029")
_ESCAPE: Final = re.compile(
    r"\\(?:u\{(?P<point>[0-9a-fA-F]{1,8})\}|u(?P<unit>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<other>\r\n|[\s\S]))"
)
_SURROGATE_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def read_string(literal: str, position: int) -> str:
    r"""The text of a string literal.

    Args:
        literal: the literal with its quotes.
        position: where it starts in the expression, for errors.

    Raises:
        Refusal: an escape is malformed or an octal one.

    Example:
        >>> read_string(r"'it\'s \x41\u00e9'", 0)
        "it's Aé"
    """
    body = literal[1:-1]
    if "\\" not in body:
        return body

    def replace(match: re.Match[str]) -> str:
        return _unescape(match, body, position + 1 + match.start())

    # Two escapes may spell one character beyond U+FFFF.
    return _SURROGATE_PAIR.sub(_pair, _ESCAPE.sub(replace, body))


def _unescape(match: re.Match[str], body: str, position: int) -> str:
    point, unit, byte, other = match.groups()
    if other is None:
        code = int(point or unit or byte, 16)
        if code > 0x10FFFF:
            raise Refusal("there is no such character", position)
        return chr(code)
    if other in _LINE_ENDS:
        return ""
    octal = other in "123456789" or (other == "0" and body[match.end() : match.end() + 1].isdecimal())
    if octal or other in "ux":
        raise Refusal(f"the escape '\\{other}' is not allowed or incomplete", position)
    return _SIMPLE.get(other, other)


def _pair(match: re.Match[str]) -> str:
    return match[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
