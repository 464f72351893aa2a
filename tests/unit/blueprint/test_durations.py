"""Durations of sleeps."""

from __future__ import annotations

import pytest

from flowcraft_dagster.blueprint.durations import LONGEST_SECONDS, read_duration


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (0, 0.0),
        (250, 0.25),
        (0.5, 0.0005),
        ("0s", 0.0),
        ("90s", 90.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("36525d", LONGEST_SECONDS),
        (LONGEST_SECONDS * 1000, LONGEST_SECONDS),
    ],
)
def test_what_can_be_read(duration: object, seconds: float) -> None:
    assert read_duration(duration) == seconds


@pytest.mark.parametrize(
    "duration",
    [
        *(-1, -0.5, True, None, [5], float("inf"), float("nan")),
        *("", "5", "m", "5 m", "-5m", "1.5h", "5M", "\u0663s"),
        *(1e308, 10**400, LONGEST_SECONDS * 1000 + 1, "36526d", "9" * 5000 + "s"),
    ],
)
def test_what_cannot(duration: object) -> None:
    assert read_duration(duration) is None
