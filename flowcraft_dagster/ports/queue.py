"""The job queue: partitioned, ordered by key, at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from flowcraft_dagster.ports.records import DeadLetter, Delivery, Message, RequestRange, RunRequest

Revoked = Callable[[frozenset[int], float], Awaitable[None]]
"""Called with the partitions that are taken away and the seconds left to finish what is in flight."""


class JobConsumer(Protocol):
    """One member of the worker group. Polling never runs user code."""

    async def start(self, on_revoked: Revoked) -> None:
        """Join the group; ``on_revoked`` is awaited before partitions are given up."""
        ...

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Wait for deliveries, at most ``limit``; an empty answer after a while is no error."""
        ...

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Say that deliveries are done with; one of a lost partition is ignored.

        Stored durably soon after, as a contiguous prefix of the partition, or each by itself where the queue can.
        """
        ...

    def pause(self) -> None:
        """Stop delivering; membership stays alive."""
        ...

    def resume(self) -> None:
        """Deliver again."""
        ...

    async def close(self) -> None:
        """Store what is settled and leave the group."""
        ...


class JobQueue(Protocol):
    """Where node jobs and wakes wait for a worker."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Append messages; returns when all are durable. Raises QueueUnavailable."""
        ...

    def open_consumer(self, slot: str, worker_id: str) -> JobConsumer:
        """A consumer for the worker in ``slot``; a restarted worker keeps its slot."""
        ...

    async def measure_lag(self) -> int:
        """How many messages wait to be settled, over all partitions."""
        ...


class DeadLetters(Protocol):
    """Messages nobody could handle, kept until somebody decides."""

    async def add_letter(self, letter: DeadLetter) -> None:
        """Keep a message."""
        ...

    async def list_letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """The newest letters first."""
        ...

    async def read_letter(self, letter_id: str) -> DeadLetter | None:
        """One letter, or None."""
        ...

    async def replay_letter(self, letter: DeadLetter) -> None:
        """Send the original bytes to the job queue again and drop the letter."""
        ...

    async def drop_letter(self, letter_id: str) -> bool:
        """Forget a letter; False where there was none."""
        ...


class RequestQueue(Protocol):
    """Requests to start runs, read by explicit offsets and never by a consumer group."""

    async def send_requests(self, values: Sequence[bytes]) -> None:
        """Append requests; returns when all are durable."""
        ...

    async def find_ranges(self, positions: dict[int, int], topic_id: str | None, limit: int) -> list[RequestRange]:
        """What lies beyond ``positions`` (next offset by partition), at most ``limit`` requests in all.

        An unknown partition starts at its beginning; another ``topic_id`` starts all of them there.
        """
        ...

    async def read_requests(self, requests: RequestRange) -> tuple[RunRequest, ...]:
        """The requests of a range, in order. Never skips one.

        Raises:
            RequestsLost: the first ones, from ``start`` of the range to ``end`` of the error, are gone for good:
                their age, or the queue was made anew. What follows can be read.
            QueueUnavailable: they cannot be read now.
        """
        ...
