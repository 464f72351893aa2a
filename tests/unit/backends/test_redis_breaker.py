from __future__ import annotations

from flowcraft_dagster.backends.redis.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row() -> None:
    clock = Clock()
    breaker = CircuitBreaker(3, 1.0, 8.0, clock)
    for _ in range(2):
        breaker.note_failure()
    assert breaker.allows_call()
    breaker.note_success()
    for _ in range(2):
        breaker.note_failure()
    assert breaker.allows_call()
    breaker.note_failure()
    assert breaker.is_open
    assert not breaker.allows_call()


def test_after_a_rest_one_call_is_let_through() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, 8.0, clock)
    breaker.note_failure()
    clock.now = 1.0
    assert not breaker.is_open
    assert breaker.allows_call()
    assert not breaker.allows_call(), "others wait for what the first one learns"
    breaker.note_success()
    assert breaker.allows_call()
    assert breaker.allows_call()


def test_each_rest_is_longer_up_to_a_limit() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 1.0, 4.0, clock)
    rests = []
    for _ in range(5):
        breaker.note_failure()
        start = clock.now
        while not breaker.allows_call():
            clock.now += 0.5
        rests.append(clock.now - start)
    assert rests == [1.0, 2.0, 4.0, 4.0, 4.0]
    breaker.note_success()
    breaker.note_failure()
    clock.now += 1.0
    assert breaker.allows_call()
