"""JavaScript's view of JSON values: undefined, truthiness, text and member access.

Blueprints come from a JavaScript engine, so conditions, paths and text follow its rules, not Python's:
``[]``, ``{}`` and ``"0"`` are true; a path that leads nowhere is *undefined*, which differs from null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final


class Undefined:
    """JavaScript's undefined: no value at all, unlike null (``None``). There is one instance."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNDEFINED"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = Undefined()


def is_truthy(value: Any) -> bool:
    """Tell whether JavaScript takes ``value`` for true.

    Example:
        >>> is_truthy([]), is_truthy(""), is_truthy("0"), is_truthy(float("nan"))
        (True, False, True, False)
    """
    if value is None or value is UNDEFINED or value is False:
        return False
    if isinstance(value, (int, float)):
        return value != 0 and not (isinstance(value, float) and math.isnan(value))
    return value != "" if isinstance(value, str) else True


def format_number(number: float) -> str:
    """Write a number as JavaScript's ``String(number)`` does.

    Example:
        >>> format_number(1.0), format_number(1e21), format_number(1e-7), format_number(0.1)
        ('1', '1e+21', '1e-7', '0.1')
    """
    if isinstance(number, bool):
        return "true" if number else "false"
    try:
        value = float(number)
    except OverflowError:
        return "Infinity" if number > 0 else "-Infinity"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    # repr gives the shortest digits that read back as the same double, as the ECMAScript text demands;
    # only the placing of the point differs.
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    prefix = "-" if sign else ""
    if 0 < point <= 21:
        return prefix + (text + "0" * (point - len(text)) if point >= len(text) else f"{text[:point]}.{text[point:]}")
    if -6 < point <= 0:
        return f"{prefix}0.{'0' * -point}{text}"
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    power = point - 1
    return f"{prefix}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def to_text(value: Any) -> str:
    """Write a JSON value as JavaScript's ``String(value)`` does.

    Example:
        >>> to_text([1, None, [2]]), to_text({"a": 1}), to_text(None), to_text(True)
        ('1,,2', '[object Object]', 'null', 'true')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if value is UNDEFINED:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return format_number(value)
    if isinstance(value, Mapping):
        return "[object Object]"
    return ",".join("" if item is None or item is UNDEFINED else to_text(item) for item in value)


def get_member(value: Any, name: Any) -> Any:
    """Read ``value[name]`` as JavaScript would, but without inherited members.

    Args:
        value: any JSON value; null and undefined have no members.
        name: a property name; numbers and numeric text index lists and strings (by UTF-16 code unit).

    Returns:
        The member, or ``UNDEFINED``.
    """
    if isinstance(value, Mapping):
        return value.get(name if isinstance(name, str) else to_text(name), UNDEFINED)
    if isinstance(value, str) and not value.isascii():
        return _get_code_unit(value, name)
    if isinstance(value, (str, Sequence)):
        if name == "length":
            return len(value)
        index = _as_index(name)
        return value[index] if index is not None and index < len(value) else UNDEFINED
    return UNDEFINED


def _get_code_unit(text: str, name: Any) -> Any:
    units = text.encode("utf-16-le", "surrogatepass")
    if name == "length":
        return len(units) // 2
    index = _as_index(name)
    if index is None or index * 2 >= len(units):
        return UNDEFINED
    return units[index * 2 : index * 2 + 2].decode("utf-16-le", "surrogatepass")


def walk_path(value: Any, parts: Sequence[str]) -> Any:
    """Follow property names from ``value``; undefined as soon as one leads nowhere."""
    for part in parts:
        if value is None or value is UNDEFINED:
            return UNDEFINED
        value = get_member(value, part)
    return value


_MAX_INDEX: Final = 2**53 - 1


def _as_index(name: Any) -> int | None:
    if isinstance(name, bool):
        return None
    if isinstance(name, (int, float)):
        return int(name) if 0 <= name <= _MAX_INDEX and name == int(name) else None
    # Longer digits are no index of anything, and Python refuses to read very long ones.
    if isinstance(name, str) and len(name) <= 16 and name.isascii() and name.isdigit():
        return int(name) if name == "0" or name[0] != "0" else None
    return None
