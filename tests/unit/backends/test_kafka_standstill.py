"""When a silent partition is taken up anew, and when it is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flowcraft_dagster.backends.kafka.offsets import Term
from flowcraft_dagster.backends.kafka.standstill import StandstillWatch


class Log:
    """Stands in for the consumer: the ends of the partitions' logs, and what is asked of it."""

    def __init__(self) -> None:
        self.ranges: dict[int, tuple[int, int]] = {0: (0, 0), 1: (0, 0)}
        self.stored: dict[int, int] = {}
        self.renewed: list[tuple[int, int]] = []
        self.is_away = False
        self.questions = 0
        self._dropped: set[int] = set()

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        self.questions += 1
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return self.ranges[place.partition]

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition("t", place.partition, self.stored.get(place.partition, -1001)) for place in places]

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        self._dropped |= {place.partition for place in places}

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        for place in places:
            assert place.partition in self._dropped
            self._dropped.discard(place.partition)
            self.renewed.append((place.partition, place.offset))

    def resume(self, places: list[TopicPartition]) -> None:
        assert not self._dropped


@pytest.fixture
def log() -> Any:
    return Log()


@pytest.fixture
def watch() -> StandstillWatch:
    return StandstillWatch("t")


def test_messages_that_wait_for_a_whole_interval_have_their_partition_taken_up_anew(
    log: Any, watch: StandstillWatch
) -> None:
    stuck, idle = Term(0), Term(1)
    log.ranges = {0: (0, 8), 1: (0, 5)}
    for expected in ([], [], [(0, 5)], [(0, 5)], [(0, 5)]):
        watch.look(log, {stuck: 4, idle: 4})
        assert log.renewed == expected
    # It stands still once more: the log has grown since.
    log.ranges[0] = (0, 9)
    watch.look(log, {stuck: 4, idle: 4})
    watch.look(log, {stuck: 4, idle: 4})
    assert log.renewed == [(0, 5), (0, 5)]


def test_a_partition_that_brings_something_is_not_asked_about(log: Any, watch: StandstillWatch) -> None:
    term = Term(0)
    log.ranges[0] = (0, 1000)
    for last in range(20):
        watch.look(log, {term: last})
    assert log.questions == 0
    # Silent between two looks, then going on.
    watch.look(log, {term: 19})
    watch.look(log, {term: 20})
    watch.look(log, {term: 20})
    assert log.questions == 2
    assert log.renewed == []


def test_a_partition_without_deliveries_begins_where_the_group_left_off(log: Any, watch: StandstillWatch) -> None:
    read, unread, cut = Term(0), Term(1), Term(2)
    log.ranges = {0: (0, 7), 1: (0, 7), 2: (7, 7)}
    log.stored = {0: 7, 2: 3}
    for _ in range(4):
        watch.look(log, {read: -1, unread: -1, cut: -1})
    # librdkafka's "the stored offset".
    assert log.renewed == [(1, -1001)]


def test_a_new_term_and_a_pause_begin_anew(log: Any, watch: StandstillWatch) -> None:
    log.ranges[0] = (0, 8)
    for _ in range(4):
        term = Term(0)
        watch.look(log, {term: 4})
        watch.look(log, {term: 4})
        watch.look(log, {})
    for _ in range(4):
        watch.look(log, {term: 4})
        watch.look(log, {term: 4})
        watch.forget()
    assert log.renewed == []


def test_a_broker_that_is_away_ends_the_look(log: Any, watch: StandstillWatch) -> None:
    terms = {Term(0): 4, Term(1): 4}
    log.ranges = {0: (0, 8), 1: (0, 8)}
    log.is_away = True
    watch.look(log, terms)
    watch.look(log, terms)
    assert log.questions == 1
    log.is_away = False
    watch.look(log, terms)
    watch.look(log, terms)
    assert log.renewed == [(0, 5), (1, 5)]
