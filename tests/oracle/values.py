"""JavaScript values, as far as blueprints need them: truth, text, numbers and comparison."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal


class Undefined:
    """The type of JavaScript's `undefined`; `UNDEFINED` is its only instance."""

    def __repr__(self) -> str:
        """Return a short name for messages."""
        return "undefined"


UNDEFINED = Undefined()

_DECIMAL_TEXT = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)")
_RADIX_TEXT = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")


def is_nothing(value: object) -> bool:
    """Tell whether the value is null or undefined."""
    return value is None or value is UNDEFINED


def is_number(value: object) -> bool:
    """Tell whether the value is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value: object) -> float:
    """Return `value` when it is a number, otherwise 0: the `num` of the test node kinds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return 0


def truthy(value: object) -> bool:
    """Apply JavaScript's truth: empty lists and objects are true."""
    if is_nothing(value) or value is False:
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value != 0 and not math.isnan(value)
    return value != "" if isinstance(value, str) else True


def number_text(value: float) -> str:
    """Write a double as JavaScript's `String(number)` does."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    if 0 < point <= 21:
        body = text + "0" * (point - len(text)) if point >= len(text) else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        power = point - 1
        body = text[0] + (f".{text[1:]}" if len(text) > 1 else "") + f"e{'+' if power > 0 else '-'}{abs(power)}"
    return ("-" if sign else "") + body


def text(value: object) -> str:
    """Write any value as JavaScript's `String(value)` does."""
    if value is None:
        return "null"
    if value is UNDEFINED:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join("" if is_nothing(item) else text(item) for item in value)
    return "[object Object]"


def to_number(value: object) -> float:
    """Convert as JavaScript's `Number(value)` does."""
    if value is UNDEFINED:
        return math.nan
    if value is None:
        return 0.0
    if isinstance(value, (bool, int, float)):
        return float(value)
    stripped = text(value).strip()
    if stripped == "":
        return 0.0
    if _RADIX_TEXT.fullmatch(stripped):
        return float(int(stripped, 0))
    if stripped.lstrip("+-") == "Infinity" and len(stripped) <= 9:
        return -math.inf if stripped[0] == "-" else math.inf
    return float(stripped) if _DECIMAL_TEXT.fullmatch(stripped) else math.nan


def primitive(value: object) -> object:
    """Turn lists and objects into their text; leave everything else alone."""
    return text(value) if isinstance(value, (list, dict)) else value


def strictly_equal(left: object, right: object) -> bool:
    """Compare with `===`."""
    if is_number(left) and is_number(right):
        return to_number(left) == to_number(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return left is right


def loosely_equal(left: object, right: object) -> bool:
    """Compare with `==`."""
    if is_nothing(left) or is_nothing(right):
        return is_nothing(left) and is_nothing(right)
    if isinstance(left, (list, dict)) and isinstance(right, (list, dict)):
        return left is right
    left, right = primitive(left), primitive(right)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return to_number(left) == to_number(right)


def less(left: object, right: object, *, or_equal: bool = False) -> bool:
    """Compare with `<` (or `<=`): two texts by their code units, anything else as numbers."""
    left, right = primitive(left), primitive(right)
    if isinstance(left, str) and isinstance(right, str):
        a, b = left.encode("utf-16-be", "surrogatepass"), right.encode("utf-16-be", "surrogatepass")
        return a <= b if or_equal else a < b
    x, y = to_number(left), to_number(right)
    return x <= y if or_equal else x < y


def plain(value: object) -> object:
    """Give the JSON form: undefined vanishes from objects and is null in lists; whole doubles become integers."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not UNDEFINED}
    if isinstance(value, list):
        return [None if item is UNDEFINED else plain(item) for item in value]
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return None
        return int(value) if value.is_integer() else value
    return value


def same(left: object, right: object) -> bool:
    """Compare two values by their JSON form, so that `true` and 1 differ and 1 and 1.0 do not."""
    return json.dumps(plain(left), sort_keys=True) == json.dumps(plain(right), sort_keys=True)
