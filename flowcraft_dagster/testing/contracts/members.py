"""Members of the worker group that collect what they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from flowcraft_dagster.ports.queue import JobConsumer
from flowcraft_dagster.ports.records import Delivery, Message
from flowcraft_dagster.testing.contracts.samples import new_id


@dataclass
class Member:
    """A consumer that collects whatever it is given.

    Attributes:
        consumer: the member of the group.
        deliveries: what it was given, in order.
        revoked: partitions it was asked to give up, with the seconds it had.
        hold: keeps its revoke callbacks waiting while clear.
    """

    consumer: JobConsumer
    deliveries: list[Delivery] = field(default_factory=list)
    revoked: list[tuple[frozenset[int], float]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    collecting: asyncio.Task[None] | None = None

    async def on_revoked(self, partitions: frozenset[int], seconds: float) -> None:
        """Note the revoke, then wait until the test lets it go on."""
        self.revoked.append((partitions, seconds))
        self.news.set()
        await self.hold.wait()

    async def collect(self) -> None:
        """Fetch for ever."""
        while True:
            self.deliveries += await self.consumer.fetch(10)
            self.news.set()

    async def stop_collecting(self) -> None:
        """Fetch no more. Raises what went wrong while fetching."""
        task, self.collecting = self.collecting, None
        if task is not None:
            task.cancel()
            (failure,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(failure, Exception):
                raise failure

    @property
    def values(self) -> list[bytes]:
        """The values it was given, in order."""
        return [delivery.message.value for delivery in self.deliveries]


def make_messages(count: int) -> list[Message]:
    """Messages of as many keys, each with a value of its own."""
    return [Message(new_id(), new_id("value").encode()) for _ in range(count)]


def values_of_key(member: Member, key: str) -> list[bytes]:
    """What a member was given of one key, in order."""
    return [delivery.message.value for delivery in member.deliveries if delivery.message.key == key]


def first_halves(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """The first half of each partition."""
    by_partition: dict[int, list[Delivery]] = {}
    for delivery in deliveries:
        by_partition.setdefault(delivery.partition, []).append(delivery)
    return [x for mine in by_partition.values() for x in sorted(mine, key=lambda y: y.offset)[: (len(mine) + 1) // 2]]


async def let_go(partitions: frozenset[int], seconds: float) -> None:
    """A revoke callback that has nothing to finish."""
