"""Private copies of JSON values, refusing whatever JSON cannot hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from flowcraft_dagster.errors import SerializationError

MAX_DEPTH: Final = 200
"""Levels of nesting a value may have; orjson writes at most 254, and a blueprint adds a few of its own."""

LARGEST_INTEGER: Final = 2**64 - 1
SMALLEST_INTEGER: Final = -(2**63)


def copy_json(value: object, path: str) -> Any:
    """Copy a JSON value, so that later changes to the original are not seen.

    Args:
        value: mappings with text keys, lists, tuples, text, numbers, booleans and None.
        path: name of the value, for the error.

    Returns:
        The same value, made of dict, list, str, int, float, bool and None only. Tuples become lists.

    Raises:
        SerializationError: something in it is not JSON: another type, a number that is not finite or needs
            more than 64 bits, text with a lone surrogate, or nesting deeper than ``MAX_DEPTH`` (also of a value
            that contains itself).

    Example:
        >>> copy_json({"a": (1, 2)}, "params")
        {'a': [1, 2]}
    """
    return _copy(value, path, MAX_DEPTH)


def _copy(value: object, path: str, levels: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _copy_text(value, path)
    if isinstance(value, int):
        return _copy_integer(value, path)
    if isinstance(value, float):
        return _copy_float(value, path)
    if not isinstance(value, (Mapping, list, tuple)):
        raise SerializationError(path=path, kind=type(value).__name__)
    if levels == 0:
        raise SerializationError(path=path, kind=type(value).__name__, reason=f" (deeper than {MAX_DEPTH} levels)")
    if isinstance(value, Mapping):
        return {_copy_key(key, path): _copy(item, f"{path}.{key}", levels - 1) for key, item in value.items()}
    return [_copy(item, f"{path}[{index}]", levels - 1) for index, item in enumerate(value)]


def is_unicode(text: str) -> bool:
    """Tell whether UTF-8 can hold the text; it cannot hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _copy_text(value: str, path: str) -> str:
    if not is_unicode(value):
        raise SerializationError(path=path, kind="str", reason=" (it has a lone surrogate)")
    return str.__str__(value)


def _copy_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise SerializationError(path=path, kind="dict", reason=f" (its key {key!r:.50} is not text)")
    return _copy_text(key, path)


def _copy_integer(value: int, path: str) -> int:
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise SerializationError(path=path, kind="int", reason=" (it needs more than 64 bits)")
    return int(value)


def _copy_float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise SerializationError(path=path, kind="float", reason=f" (it is {float(value)})")
    return float(value)
