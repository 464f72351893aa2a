from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import pytest

from flowcraft_dagster.cli import parameters
from flowcraft_dagster.cli.parameters import JsonValue, Moment, Seconds
from flowcraft_dagster.errors import SizeLimitExceeded


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("2 h", 7200), ("1d", 86400), ("250ms", 0.25)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "1y", "m", "1 2", "inf", "nan"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no length of time"):
        Seconds().convert(text, None, None)


def test_a_moment_may_be_so_long_ago() -> None:
    assert Moment().convert("2h", None, None) == pytest.approx(time.time() - 7200, abs=5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-31T09:30:00Z", datetime(2025, 1, 31, 9, 30, tzinfo=timezone.utc)),
        ("2025-01-31T09:30:00+02:00", datetime(2025, 1, 31, 7, 30, tzinfo=timezone.utc)),
        ("1738315800", datetime(2025, 1, 31, 9, 30, tzinfo=timezone.utc)),
    ],
)
def test_a_moment_may_be_exact(text: str, moment: datetime) -> None:
    assert Moment().convert(text, None, None) == moment.timestamp()


def test_a_date_alone_is_local_midnight() -> None:
    midnight = datetime(2025, 1, 31).astimezone()
    assert Moment().convert("2025-01-31", None, None) == midnight.timestamp()


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ('"x"', "x"), ("null", None), ('{"a": [1.5]}', {"a": [1.5]}), ("true", True)]
)
def test_json_values(text: str, value: Any) -> None:
    assert JsonValue().convert(text, None, None) == value


def test_a_json_value_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text('{"a": 1}')
    assert JsonValue().convert(f"@{path}", None, None) == {"a": 1}


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text("{")
    with pytest.raises(click.BadParameter, match=f"not JSON in '{path}'"):
        JsonValue().convert(f"@{path}", None, None)


def test_a_file_beyond_all_limits_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_JSON_BYTES", 10)
    path = tmp_path / "value.json"
    path.write_text('"' + "x" * 20 + '"')
    with pytest.raises(SizeLimitExceeded):
        JsonValue().convert(f"@{path}", None, None)


def test_deep_json_is_refused() -> None:
    with pytest.raises(click.BadParameter):
        JsonValue().convert("[" * 100_000 + "]" * 100_000, None, None)
