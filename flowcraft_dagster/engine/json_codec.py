"""JSON as the peer writes it: undefined members vanish, NaN becomes null, dates become ISO text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

import orjson

from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import SerializationError

MAX_DEPTH: Final = 200
"""Levels of nesting of what a run stores. orjson writes at most 254, and what shows a value adds a few of its own."""

_SHOWN_DIGITS = 20
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: Any, path: str = "value") -> bytes:
    """Write a JSON value compactly.

    Args:
        value: numbers, text, booleans, None, lists, tuples, string-keyed dicts; dates become ISO text in UTC.
        path: names the value in errors.

    Raises:
        SerializationError: something inside is not JSON; names where.

    Example:
        >>> encode({"a": 1, "b": UNDEFINED, "c": [UNDEFINED, float("nan")]})
        b'{"a":1,"c":[null,null]}'
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        # The fast writer refuses undefined, dates, big integers and lone surrogates: go through the value once.
        plain = _simplify(value, path, 0)
    try:
        return orjson.dumps(plain, option=_OPTIONS)
    except TypeError:
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def check_depth(data: bytes, path: str) -> None:
    """Find out whether JSON is nested so deep that whoever holds it in a value of his own could not write it.

    Args:
        data: JSON as :func:`encode` writes it, or such values joined.
        path: names the value in errors.

    Raises:
        SerializationError: it has more than ``MAX_DEPTH`` levels.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    left = _STRING.sub(b"", data).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        # Takes the innermost brackets away, all at once.
        left = left.replace(b"[]", b"")
        if not left:
            return
    raise SerializationError(f" (nested deeper than {MAX_DEPTH} levels)", path=path, kind="list or dict")


def decode(data: bytes) -> Any:
    """Read a JSON value; a fresh copy every time."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # Lone surrogates are legal in JavaScript's strings and refused by the fast reader.
        return json.loads(data)


def decode_strictly(data: bytes) -> Any:
    """Read JSON that others wrote, and nothing that could not be stored as it is.

    Lone surrogates, which JavaScript writes, and a byte order mark are read. NaN, numbers beyond the range of a double
    and other encodings are refused.

    Raises:
        ValueError, RecursionError: it is no JSON; says why.

    Example:
        >>> decode_strictly(b'{"a": 1e999}')
        Traceback (most recent call last):
        ValueError: 1e999 is beyond the range of numbers
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # This reader knows lone surrogates, but left alone it takes more than JSON, too.
        return json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=lambda text: float(_check_range(text)),
            parse_int=lambda text: int(_check_range(text)),
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _check_range(text: str) -> str:
    if math.isinf(float(text)):
        shown = text if len(text) <= _SHOWN_DIGITS else f"{text[:_SHOWN_DIGITS]}..."
        raise ValueError(f"{shown} is beyond the range of numbers")
    return text


def _simplify(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise SerializationError(f" (nested deeper than {MAX_DEPTH} levels)", path=path, kind=type(value).__name__)
    if value is None or value is UNDEFINED:
        return None
    if isinstance(value, (bool, str)):
        return value if type(value) in (bool, str) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    if isinstance(value, Mapping):
        plain = {}
        for key, member in value.items():
            if not isinstance(key, str):
                raise SerializationError(" as a key", path=path, kind=type(key).__name__)
            if member is not UNDEFINED:
                plain[key] = _simplify(member, f"{path}.{key}", depth + 1)
        return plain
    if isinstance(value, orjson.Fragment):
        return decode(orjson.dumps(value))
    if isinstance(value, (list, tuple)):
        return [_simplify(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise SerializationError(path=path, kind=type(value).__name__)
