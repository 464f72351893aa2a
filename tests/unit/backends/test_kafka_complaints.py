from __future__ import annotations

import logging

from flowcraft_dagster.backends.kafka.complaints import RepetitionFilter, is_no_echo


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


def test_how_long_a_connection_took_makes_no_news() -> None:
    once = RepetitionFilter(60, clock=lambda: 0.0)
    assert once.filter(_record("refused (after 0ms in state CONNECT); it keeps trying"))
    assert not once.filter(_record("refused (after 3ms, 1 identical error(s) suppressed); it keeps trying"))


def test_what_is_reported_as_an_error_is_not_logged_twice() -> None:
    assert not is_no_echo(_record("FAIL [flowcraft#producer-2] [thrd:...]: Connect to ipv4#127.0.0.1:9092 failed"))
    assert not is_no_echo(_record("GETPID [flowcraft#producer-2]: Failed to acquire idempotence PID: retrying"))
    assert is_no_echo(_record("MAXPOLL [flowcraft#consumer-1] [thrd:main]: Application maximum poll interval exceeded"))


def test_memory_for_complaints_is_bounded() -> None:
    once = RepetitionFilter(60, clock=lambda: 0.0)
    for place in range(1000):
        assert once.filter(_record("x" * (place + 1)))
    assert len(once._heard) <= 201
