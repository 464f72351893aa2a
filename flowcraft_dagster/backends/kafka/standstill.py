"""Partitions that bring nothing although messages wait in them.

A pause or resume in the moment of an assignment may, very rarely, leave librdkafka not fetching a partition any more
(its issue 5591). Nobody would notice but the runs of that partition: the consumer lives, its other partitions go on,
and what the reconciler sends for those runs waits in the same place. So a partition that was silent for a while is
compared with the end of its log, and taken up anew when messages have waited there for a whole interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from flowcraft_dagster.backends.kafka import complaints
from flowcraft_dagster.backends.kafka.offsets import Term

INTERVAL_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 1.0
STOOD_STILL: Final = (
    "partition %s of topic %s brought nothing, although messages up to offset %s wait in it; it is taken up anew"
)


@dataclass(slots=True)
class _Sight:
    """What the last look found.

    Attributes:
        term: the time of holding the partition.
        last: the last offset that was delivered.
        waiting: the end of the log, if messages waited before it.
        renewed: the end of the log when the partition was last taken up anew. What follows the last message may be
            no message (the marks of a foreign transaction), so that once is enough until the log has grown.
    """

    term: Term
    last: int
    waiting: int | None = None
    renewed: int = -1


class StandstillWatch:
    """Looks at the held partitions of one consumer, on the consumer's thread.

    Args:
        topic: the topic whose partitions they are.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._sights: dict[int, _Sight] = {}

    def forget(self) -> None:
        """Begin again, after a time in which silence meant nothing (a pause)."""
        self._sights.clear()

    def look(self, consumer: Consumer, held: Mapping[Term, int]) -> None:
        """Compare silent partitions with the ends of their logs; call it every ``INTERVAL_SECONDS``.

        A broker that does not answer ends the look: then nothing can come, and the next look asks again.

        Args:
            consumer: holds the partitions.
            held: the present terms, with the last offset delivered in each (-1: none).
        """
        sights: dict[int, _Sight] = {}
        silent: list[_Sight] = []
        for term, last in held.items():
            sight = self._sights.get(term.partition)
            if sight is not None and sight.term is term and sight.last == last:
                silent.append(sight)
            else:
                sight = _Sight(term, last)
            sights[term.partition] = sight
        self._sights = sights
        try:
            for sight in silent:
                self._judge(consumer, sight)
        except KafkaException as error:
            complaints.logger.debug("silent partitions were not compared with their logs: %s", error)

    def _judge(self, consumer: Consumer, sight: _Sight) -> None:
        end = self._find_waiting(consumer, sight)
        if end is None or end <= sight.renewed:
            sight.waiting = None
        elif sight.waiting is None:
            # They may have come in this moment; the next look knows.
            sight.waiting = end
        else:
            complaints.logger.warning(STOOD_STILL, sight.term.partition, self._topic, end)
            self._renew(consumer, sight)
            sight.waiting, sight.renewed = None, end

    def _find_waiting(self, consumer: Consumer, sight: _Sight) -> int | None:
        """The end of the log, if messages that were not delivered lie before it."""
        place = TopicPartition(self._topic, sight.term.partition)
        low, end = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
        next_offset = sight.last + 1
        if sight.last < 0:
            (stored,) = consumer.committed([place], timeout=ANSWER_SECONDS)
            next_offset = max(stored.offset, 0)
        return end if end > max(low, next_offset) else None

    def _renew(self, consumer: Consumer, sight: _Sight) -> None:
        place = TopicPartition(self._topic, sight.term.partition)
        consumer.incremental_unassign([place])
        # Where nothing was delivered, librdkafka begins at the stored offset by itself.
        begin = TopicPartition(self._topic, sight.term.partition, sight.last + 1) if sight.last >= 0 else place
        consumer.incremental_assign([begin])
        consumer.resume([place])
