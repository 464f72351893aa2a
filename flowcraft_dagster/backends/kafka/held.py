"""The partitions that a consumer holds, with what was fetched from them and what is settled.

The polling thread puts messages in and takes marks out, the asyncio loop takes messages out and settles them; all of it
happens under one lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flowcraft_dagster.backends.kafka.offsets import Term
from flowcraft_dagster.ports.records import Delivery, Message


@dataclass(frozen=True, slots=True)
class KafkaDelivery(Delivery):
    """A delivery that knows in which term it was made."""

    term: Term = field(kw_only=True, compare=False, repr=False)


class HeldPartitions:
    """Used by the polling thread and the loop at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: deque[KafkaDelivery] = deque()
        self._terms: dict[int, Term] = {}

    @property
    def waiting(self) -> int:
        """How many fetched messages wait to be handed out."""
        return len(self._ready)

    @property
    def partitions(self) -> list[int]:
        """Which are held."""
        with self._lock:
            return list(self._terms)

    # -- the loop's side -----------------------------------------------------------------------------------------

    def take(self, limit: int) -> list[Delivery]:
        """Hand out messages, at most ``limit``; those of partitions that are being given up are left out."""
        found: list[Delivery] = []
        with self._lock:
            while self._ready and len(found) < limit:
                delivery = self._ready.popleft()
                if delivery.term.is_open:
                    found.append(delivery)
        return found

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        """Note that deliveries are done with; one of a term that is over is ignored."""
        with self._lock:
            for delivery in deliveries:
                if isinstance(delivery, KafkaDelivery) and not delivery.term.is_over:
                    delivery.term.offsets.settle(delivery.offset)

    # -- the thread's side ---------------------------------------------------------------------------------------

    def begin(self, partitions: Iterable[int]) -> None:
        """Hold partitions from now on."""
        with self._lock:
            for partition in partitions:
                self._terms[partition] = Term(partition)

    def put(self, arrived: Sequence[tuple[int, int, Message]]) -> bool:
        """Note fetched messages, each with partition and offset; whether any of them is to be handed out."""
        deliveries: list[KafkaDelivery] = []
        with self._lock:
            for partition, offset, message in arrived:
                term = self._terms.get(partition)
                if term is None or not term.is_open:
                    continue
                if offset <= term.offsets.last:
                    # The topic was made anew, or the log was cut back: offsets begin again.
                    term.is_open, term.is_over = False, True
                    term = self._terms[partition] = Term(partition)
                term.offsets.deliver((offset,))
                deliveries.append(KafkaDelivery(message, partition, offset, term=term))
            self._ready.extend(deliveries)
        return bool(deliveries)

    def close(self, partitions: Iterable[int]) -> list[Term]:
        """Hand out no more of partitions, which may still be settled; returns their terms."""
        with self._lock:
            terms = [self._terms[partition] for partition in partitions if partition in self._terms]
            for term in terms:
                term.is_open = False
        return terms

    def end(self, partitions: Iterable[int] | None = None) -> None:
        """Hold partitions no more; all of them when None."""
        with self._lock:
            for partition in list(self._terms if partitions is None else partitions):
                term = self._terms.pop(partition, None)
                if term is not None:
                    term.is_open = False
                    term.is_over = True

    def find_moved(self, terms: Iterable[Term] | None = None) -> list[tuple[Term, int]]:
        """Terms with a mark that was not sent to the broker, and the mark; of all terms when None."""
        with self._lock:
            looked_at = self._terms.values() if terms is None else terms
            marks = [(term, term.offsets.mark) for term in looked_at]
        return [(term, mark) for term, mark in marks if mark is not None and mark != term.stored]

    def find_last(self) -> dict[Term, int]:
        """The last offset that was delivered in each term, except those that are being given up; -1 for none."""
        with self._lock:
            return {term: term.offsets.last for term in self._terms.values() if term.is_open}

    def forget_stored(self, partition: int) -> None:
        """Have the mark of a partition sent again: the broker has not taken it."""
        with self._lock:
            term = self._terms.get(partition)
            if term is not None:
                term.stored = None
