"""Whether a value is too large, found out before it is written.

A transform may name one large value a thousand times. In memory they are one; written, they would take the memory of
the whole worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def weighs_more(value: Any, max_bytes: int) -> bool:
    """Whether the JSON of a value has more than ``max_bytes`` bytes, by a count that is rather too low.

    A list or object that is in it many times is gone through once.

    Example:
        >>> weighs_more(["x" * 100] * 100, 5000), weighs_more(["x" * 10], 5000)
        (True, False)
    """
    try:
        return _weigh(value, max_bytes, {}) > max_bytes
    except _TooMuch:
        return True


class _TooMuch(Exception):
    """More than the limit already."""


def _weigh(value: Any, most: int, known: dict[int, int]) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, (Mapping, list)):
        return 1
    weight = known.get(id(value))
    if weight is not None:
        return weight
    weight = 2
    if isinstance(value, list):
        for item in value:
            weight += 1 + _weigh(item, most, known)
            if weight > most:
                raise _TooMuch
    else:
        for key, item in value.items():
            weight += len(key) + 3 + _weigh(item, most, known)
            if weight > most:
                raise _TooMuch
    known[id(value)] = weight
    return weight
