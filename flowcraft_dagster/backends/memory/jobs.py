"""A partitioned job queue within one event loop, with the group semantics of Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from flowcraft_dagster.backends.partitions import assign_partitions, choose_partition
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.queue import Revoked
from flowcraft_dagster.ports.records import Delivery, Message

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""What a revoke callback may take beyond its deadline to clear up; then it is cancelled."""


class MemoryJobQueue:
    """A ``JobQueue`` that lives as long as the object.

    Messages stay until they are settled, each by itself. What a member did not settle goes to whoever holds
    the partition next. Everything happens in the order of the calls, so a run of the loop can be repeated.

    Args:
        clock: the deadline of a revoke goes by it.
        partitions: how many partitions there are.
        revoke_seconds: how long a member may finish what is in flight before it loses a partition.
    """

    def __init__(self, clock: Clock, partitions: int = 12, revoke_seconds: float = 20.0) -> None:
        self.clock = clock
        self.revoke_seconds = revoke_seconds
        self._logs: list[dict[int, Message]] = [{} for _ in range(partitions)]
        self._ends = [0] * partitions
        self._holders: list[MemoryJobConsumer | None] = [None] * partitions
        self._members: dict[str, MemoryJobConsumer] = {}
        self._opened = 0

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``JobQueue.send``."""
        for message in messages:
            partition = choose_partition(message.key, len(self._logs))
            offset = self._ends[partition]
            self._ends[partition] = offset + 1
            self._logs[partition][offset] = message
            holder = self._holders[partition]
            if holder is not None:
                holder.queue_offsets(partition, (offset,))

    def open_consumer(self, slot: str, worker_id: str) -> MemoryJobConsumer:
        """See ``JobQueue.open_consumer``."""
        self._opened += 1
        return MemoryJobConsumer(self, f"{self._opened:06d}")

    async def measure_lag(self) -> int:
        """See ``JobQueue.measure_lag``."""
        return sum(map(len, self._logs))

    def forget_messages(self) -> None:
        """Lose every message, as when a topic is deleted and made anew."""
        for log in self._logs:
            log.clear()

    def read_message(self, partition: int, offset: int) -> Message | None:
        """The message at a place, or None when it was settled."""
        return self._logs[partition].get(offset)

    def drop_messages(self, places: Iterable[tuple[int, int]]) -> None:
        """Forget settled messages by partition and offset."""
        for partition, offset in places:
            self._logs[partition].pop(offset, None)

    def add_member(self, member: MemoryJobConsumer) -> None:
        """Let a consumer into the group."""
        self._members[member.member_id] = member
        self._rebalance()

    def remove_member(self, member: MemoryJobConsumer) -> None:
        """Take a consumer out of the group, together with all it holds."""
        if self._members.pop(member.member_id, None) is not None:
            self.release(member, [place for place, holder in enumerate(self._holders) if holder is member])

    def release(self, member: MemoryJobConsumer, partitions: Iterable[int]) -> None:
        """Give up partitions; others take them at once."""
        for partition in partitions:
            if self._holders[partition] is member:
                self._holders[partition] = None
                member.lose(partition)
        self._rebalance()

    def _rebalance(self) -> None:
        holders = {place: None if holder is None else holder.member_id for place, holder in enumerate(self._holders)}
        leaving: dict[str, set[int]] = {}
        for partition, member_id in assign_partitions(self._members, holders).items():
            holder = self._holders[partition]
            if holder is None:
                member = self._members[member_id]
                self._holders[partition] = member
                member.take(partition, tuple(self._logs[partition]))
            elif holder.member_id != member_id:
                leaving.setdefault(holder.member_id, set()).add(partition)
        for holder_id, partitions in leaving.items():
            self._members[holder_id].begin_revoke(partitions)


class MemoryJobConsumer:
    """One member of the group; made by ``MemoryJobQueue.open_consumer``."""

    def __init__(self, queue: MemoryJobQueue, member_id: str) -> None:
        self.member_id = member_id
        self._queue = queue
        self._ready: deque[tuple[int, int, int]] = deque()
        self._terms: dict[int, int] = {}
        self._revoking: set[int] = set()
        self._outstanding: set[tuple[int, int]] = set()
        self._takes = 0
        self._paused = False
        self._left = False
        self._wake = asyncio.Event()
        self._on_revoked: Revoked | None = None
        self._revokes: set[asyncio.Task[None]] = set()

    async def start(self, on_revoked: Revoked) -> None:
        """See ``JobConsumer.start``."""
        self._on_revoked = on_revoked
        self._queue.add_member(self)

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See ``JobConsumer.fetch``; waits as long as it takes, and is empty only after ``close``."""
        while not self._left:
            deliveries = [] if self._paused else self._collect(limit)
            if deliveries:
                return deliveries
            self._wake.clear()
            await self._wake.wait()
        return ()

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """See ``JobConsumer.settle``; takes effect at once."""
        places = {(delivery.partition, delivery.offset) for delivery in deliveries} & self._outstanding
        self._outstanding -= places
        self._queue.drop_messages(places)

    def pause(self) -> None:
        """See ``JobConsumer.pause``."""
        self._paused = True

    def resume(self) -> None:
        """See ``JobConsumer.resume``."""
        self._paused = False
        self._wake.set()

    async def close(self) -> None:
        """See ``JobConsumer.close``; the revoke callback is not called."""
        self._leave()
        self._wake.set()

    def kill(self) -> None:
        """Die as a killed process does: nothing more is settled, a fetch in progress never returns."""
        self._leave()

    def take(self, partition: int, offsets: Sequence[int]) -> None:
        """Hold a partition from now on; called by the queue."""
        self._takes += 1
        self._terms[partition] = self._takes
        self.queue_offsets(partition, offsets)

    def lose(self, partition: int) -> None:
        """Hold a partition no more; called by the queue."""
        self._terms.pop(partition, None)
        self._revoking.discard(partition)
        self._outstanding = {place for place in self._outstanding if place[0] != partition}

    def queue_offsets(self, partition: int, offsets: Sequence[int]) -> None:
        """Note messages that wait to be fetched; called by the queue."""
        term = self._terms[partition]
        self._ready.extend((partition, term, offset) for offset in offsets)
        self._wake.set()

    def begin_revoke(self, partitions: set[int]) -> None:
        """Stop delivering from partitions, finish what is in flight, then release them; called by the queue."""
        fresh = partitions - self._revoking
        if fresh:
            self._revoking |= fresh
            task = asyncio.ensure_future(self._revoke(frozenset(fresh)))
            self._revokes.add(task)
            task.add_done_callback(self._revokes.discard)

    async def _revoke(self, partitions: frozenset[int]) -> None:
        if self._on_revoked is not None:
            seconds = self._queue.revoke_seconds
            finishing = asyncio.ensure_future(self._on_revoked(partitions, seconds))
            patience = asyncio.ensure_future(self._queue.clock.sleep(seconds + GRACE_SECONDS))
            try:
                await asyncio.wait({finishing, patience}, return_when=asyncio.FIRST_COMPLETED)
                failure = finishing.exception() if finishing.done() and not finishing.cancelled() else None
                if failure is not None:
                    logger.error("the revoke callback of member %s failed", self.member_id, exc_info=failure)
            finally:
                patience.cancel()
                finishing.cancel()
        self._queue.release(self, partitions)

    def _collect(self, limit: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        while self._ready and len(deliveries) < limit:
            partition, term, offset = self._ready.popleft()
            if self._terms.get(partition) != term or partition in self._revoking:
                continue
            message = self._queue.read_message(partition, offset)
            if message is not None:
                self._outstanding.add((partition, offset))
                deliveries.append(Delivery(message, partition, offset))
        return deliveries

    def _leave(self) -> None:
        self._left = True
        for task in self._revokes:
            task.cancel()
        self._ready.clear()
        self._queue.remove_member(self)
