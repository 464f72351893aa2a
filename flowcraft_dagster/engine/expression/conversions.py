"""JavaScript's conversions and comparisons (ECMA-262 section 7.1 and 7.2) for JSON values and undefined.

Numbers are doubles. Results of arithmetic are given as ``int`` when they are whole and exact, so that ``1`` is written
``1``; negative zero stays a float until the end, since ``1 / -0`` can see it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowcraft_dagster.engine.expression.frame import Abort, Frame
from flowcraft_dagster.engine.expression.limits import ITEM_WORK, MAX_TEXT
from flowcraft_dagster.engine.values import UNDEFINED, to_text

MAX_SAFE_INTEGER: Final = 2**53 - 1

# The white space that JavaScript trims; Python's own notion has others, such as U+0085.
WHITE_SPACE: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PREFIXED: Final = re.compile(r"0(?:[xX]([0-9a-fA-F]+)|[oO]([0-7]+)|[bB]([01]+))")
_INFINITY: Final = {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}


def is_object(value: Any) -> bool:
    """Tell whether JavaScript compares ``value`` by identity: lists, mappings and whatever else is no JSON scalar."""
    return not (value is None or value is UNDEFINED or isinstance(value, (str, int, float)))


def type_name(value: Any) -> str:
    """What ``typeof`` says."""
    if value is UNDEFINED:
        return "undefined"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "object"


def to_primitive(value: Any, frame: Frame) -> Any:
    """The value itself, or the text of a list or mapping."""
    return text_of(value, frame) if is_object(value) else value


def text_of(value: Any, frame: Frame) -> str:
    """``String(value)``, at most ``MAX_TEXT`` characters of it.

    Raises:
        Abort: the text would be too long.
    """
    if isinstance(value, str):
        return value
    if not is_object(value):
        return to_text(value)
    if isinstance(value, Mapping) or not isinstance(value, Sequence):
        return "[object Object]"
    return _join(value, frame)


def _join(items: Sequence[Any], frame: Frame) -> str:
    # With a stack of its own, since data may be nested deeper than Python calls may be.
    pieces: list[str] = []
    open_lists = [enumerate(items)]
    while open_lists:
        entry = next(open_lists[-1], None)
        if entry is None:
            open_lists.pop()
            continue
        index, item = entry
        if index:
            pieces.append(",")
        if is_object(item) and isinstance(item, Sequence):
            frame.charge(ITEM_WORK)
            open_lists.append(enumerate(item))
        else:
            piece = "" if item is None or item is UNDEFINED else text_of(item, frame)
            frame.charge(ITEM_WORK + len(piece))
            pieces.append(piece)
    return _limited("".join(pieces))


def concatenate(left: str, right: str) -> str:
    """Join two texts; halves of a surrogate pair that meet become one character.

    Raises:
        Abort: the text would be too long.
    """
    if len(left) + len(right) > MAX_TEXT:
        raise Abort(_TOO_LONG)
    if left and right and "\ud800" <= left[-1] <= "\udbff" and "\udc00" <= right[0] <= "\udfff":
        pair = (left[-1] + right[0]).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return left[:-1] + pair + right[1:]
    return left + right


_TOO_LONG: Final = f"it builds a text of more than {MAX_TEXT} characters"


def _limited(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise Abort(_TOO_LONG)
    return text


def to_number(value: Any, frame: Frame) -> float:
    """``Number(value)`` as a double."""
    if isinstance(value, (int, float)):
        return as_double(value)
    if value is None:
        return 0.0
    if value is UNDEFINED:
        return math.nan
    text = text_of(value, frame)
    frame.charge(len(text))
    return parse_number(text)


def as_double(number: float) -> float:
    """The nearest double; whole numbers beyond the doubles are infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def parse_number(text: str) -> float:
    r"""``Number(text)``: white space around is ignored, nothing is 0, anything else that is no number is NaN.

    Example:
        >>> parse_number(" 0x1F\n"), parse_number(""), parse_number("1e3"), parse_number("1_000")
        (31.0, 0.0, 1000.0, nan)
    """
    text = text.strip(WHITE_SPACE)
    if not text:
        return 0.0
    if _DECIMAL.fullmatch(text):
        return float(text)
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed is None:
        return _INFINITY.get(text, math.nan)
    hexadecimal, octal, binary = prefixed.groups()
    if hexadecimal:
        return as_double(int(hexadecimal, 16))
    return as_double(int(octal, 8) if octal else int(binary, 2))


def tidy(number: float) -> int | float:
    """Give a whole, exact double as ``int``; leave negative zero, fractions and large numbers alone."""
    if -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER and number.is_integer():
        return int(number) if number or math.copysign(1.0, number) > 0 else number
    return number


def strictly_equal(left: Any, right: Any) -> bool:
    """``left === right``; lists and mappings are equal only to themselves."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return as_double(left) == as_double(right)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return left is right


def loosely_equal(left: Any, right: Any, frame: Frame) -> bool:
    """``left == right``: null equals undefined, other kinds are compared as primitives."""
    left_missing = left is None or left is UNDEFINED
    if left_missing or right is None or right is UNDEFINED:
        return left_missing and (right is None or right is UNDEFINED)
    if is_object(left) and is_object(right):
        return left is right
    left, right = to_primitive(left, frame), to_primitive(right, frame)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return to_number(left, frame) == to_number(right, frame)


def ordering_keys(left: Any, right: Any, frame: Frame) -> tuple[Any, Any]:
    """What to compare with Python's ``<`` in place of two values: doubles, or text by UTF-16 code units."""
    left, right = to_primitive(left, frame), to_primitive(right, frame)
    if not (isinstance(left, str) and isinstance(right, str)):
        return to_number(left, frame), to_number(right, frame)
    if left.isascii() and right.isascii():
        return left, right
    frame.charge(len(left) + len(right))
    # Python orders text by code points, which puts U+FFFD before the emoji that JavaScript puts it after.
    return left.encode("utf-16-be", "surrogatepass"), right.encode("utf-16-be", "surrogatepass")
