"""JSON as JavaScript writes it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from flowcraft_dagster.engine.json_codec import decode, decode_strictly, encode
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import SerializationError

_NOON = datetime(2024, 5, 1, 12, 0, 0, 250_999, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": UNDEFINED, "b": [UNDEFINED, 1]}, b'{"b":[null,1]}'),
        ([float("nan"), float("inf"), -float("inf")], b"[null,null,null]"),
        ({"at": _NOON}, b'{"at":"2024-05-01T10:00:00.250Z"}'),
        ((1, (2,)), b"[1,[2]]"),
        (MappingProxyType({"a": 1}), b'{"a":1}'),
        (UNDEFINED, b"null"),
        ({"big": 2**70}, b'{"big":1180591620717411303424}'),
        ("\ud83d", b'"\\ud83d"'),
        ({"a": orjson.Fragment(b'{"n":1}'), "b": "\ud800"}, b'{"a":{"n":1},"b":"\\ud800"}'),
    ],
)
def test_values_take_their_javascript_form(value: Any, written: bytes) -> None:
    assert encode(value) == written


def test_a_lone_surrogate_comes_back() -> None:
    assert decode(encode({"a": "x\ud800y"})) == {"a": "x\ud800y"}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": [1, 2.5, "x"]}', {"a": [1, 2.5, "x"]}),
        (b'{"a": 1, "b": 1.5, "c": "\\ud800"}', {"a": 1, "b": 1.5, "c": "\ud800"}),
        (b'\xef\xbb\xbf{"a": 1}\r\n', {"a": 1}),
        (b"1e308", 1e308),
    ],
    ids=["plain", "half a character", "byte order mark", "large"],
)
def test_what_others_wrote_is_read(data: bytes, value: Any) -> None:
    read = decode_strictly(data)
    assert read == value
    assert repr(read) == repr(value), "1 is not 1.0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b"[-Infinity]", "-Infinity is no JSON value"),
        (b'{"a": 1e999}', "1e999 is beyond the range of numbers"),
        (b"[-1e999]", "-1e999 is beyond the range of numbers"),
        (b"9" * 400, "99999999999999999999... is beyond the range of numbers"),
        (b"9" * 9000, "99999999999999999999... is beyond the range of numbers"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        ('{"a": 1}'.encode("utf-16"), "can't decode byte 0xff"),
        (b"", "Expecting value"),
        (b"{'a': 1}", "Expecting property name"),
    ],
)
def test_what_others_wrote_and_could_not_be_stored_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        decode_strictly(data)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {"b": object()}]}, r"value\.a\[1\]\.b: a value of type object"),
        ({"a": {1: 2}}, r"value\.a: a value of type int is not JSON as a key"),
        ({1, 2}, "value: a value of type set"),
    ],
)
def test_an_error_names_the_place(value: Any, place: str) -> None:
    with pytest.raises(SerializationError, match=place):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SerializationError, match="nested deeper"):
        encode(endless)
