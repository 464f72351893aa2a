from __future__ import annotations

import logging

from flowcraft_dagster.backends.kafka.complaints import RepetitionFilter


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, __file__, 1, text, (), None)


def test_a_complaint_is_heard_once_a_minute_whatever_its_numbers() -> None:
    now = [0.0]
    once = RepetitionFilter(60, clock=lambda: now[0])
    assert once.filter(_record("connect to 10.0.0.1 failed after 3 ms"))
    now[0] = 59.0
    assert not once.filter(_record("connect to 10.0.0.1 failed after 812 ms"))
    assert once.filter(_record("something else"))
    now[0] = 61.0
    assert once.filter(_record("connect to 10.0.0.1 failed after 4 ms"))


def test_memory_for_complaints_is_bounded() -> None:
    once = RepetitionFilter(60, clock=lambda: 0.0)
    for place in range(1000):
        assert once.filter(_record("x" * (place + 1)))
    assert len(once._heard) <= 201
