"""One member of the worker group: fetching, settling, and giving partitions up in time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from flowcraft_dagster.backends.embedded.group import (
    CHANGE_GROUP,
    SETTLE,
    GroupChange,
    Settlement,
    read_counters,
    read_group,
)
from flowcraft_dagster.backends.embedded.session import Session
from flowcraft_dagster.backends.partitions import assign_partitions
from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.queue import Revoked
from flowcraft_dagster.ports.records import Delivery, Message
from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

FETCH_SECONDS = 1.0
"""How long a fetch waits before it answers with nothing."""
CHECK_SECONDS = 0.25
"""Time between two looks for dead members."""
RETRY_SECONDS = 0.5
GRACE_SECONDS = 1.0
"""What a revoke callback may take beyond its deadline to clear up; then it is cancelled."""

_NEXT = """SELECT "offset", key, value, headers FROM messages WHERE partition = ? AND "offset" > ?
    ORDER BY "offset" LIMIT ?"""


class EmbeddedJobConsumer:
    """A ``JobConsumer`` over the file; made by ``EmbeddedJobQueue.open_consumer``."""

    def __init__(self, session: Session, member_id: str, slot: str, worker_id: str, revoke_seconds: float) -> None:
        self.member_id = member_id
        self._session = session
        self._slot = slot
        self._worker_id = worker_id
        self._revoke_seconds = revoke_seconds
        self._on_revoked: Revoked | None = None
        self._positions: dict[int, int] = {}
        self._outstanding: dict[int, set[int]] = {}
        self._terms: dict[int, int] = {}
        self._takes = 0
        self._unread: set[int] = set()
        self._revoking: set[int] = set()
        self._releasing: set[int] = set()
        self._seen = (-1, -1)
        self._turn = 0
        self._paused = False
        self._left = False
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._settled: list[tuple[int, int, int]] = []
        self._flush: asyncio.Handle | None = None
        self._settling: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_listening = _do_nothing

    async def start(self, on_revoked: Revoked) -> None:
        """See ``JobConsumer.start``; when alone, all partitions are held on return.

        Partitions that were lost (this process was frozen and others took over) are told with 0 seconds left.
        """
        self._on_revoked = on_revoked
        self._stop_listening = self._session.watcher.listen(self._look)
        await self._regroup()
        self._spawn(self._keep_membership())

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See ``JobConsumer.fetch``. Raises QueueUnavailable."""
        for attempt in range(2):
            if self._left:
                break
            deliveries = [] if self._paused else self._collect(limit)
            if deliveries or attempt:
                return deliveries
            self._wake.clear()
            timer = asyncio.get_running_loop().call_later(FETCH_SECONDS, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        return ()

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """See ``JobConsumer.settle``; each message by itself."""
        for delivery in deliveries:
            offsets = self._outstanding.get(delivery.partition)
            if offsets is not None and delivery.offset in offsets:
                offsets.remove(delivery.offset)
                self._settled.append((delivery.partition, delivery.offset, self._terms[delivery.partition]))
        if self._settled and self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._flush_settled)

    def pause(self) -> None:
        """See ``JobConsumer.pause``."""
        self._paused = True

    def resume(self) -> None:
        """See ``JobConsumer.resume``."""
        self._paused = False
        self._wake.set()

    async def close(self) -> None:
        """See ``JobConsumer.close``; the revoke callback is not called."""
        if self._left:
            return
        self._flush_settled()
        self._stop()
        try:
            await asyncio.gather(*self._settling, return_exceptions=True)
            await self._session.write(CHANGE_GROUP, self._plan(leave=True))
            self._session.presence.leave(self.member_id)
        except InfrastructureError as error:
            # Others take over once the lock is free; what is not stored as settled comes again.
            logger.warning("member %s left without a word: %s", self.member_id, error)
            if self._session.is_open:
                self._session.presence.leave(self.member_id, forget=False)

    def kill(self) -> None:
        """Die as a killed process does: settle nothing more, say nothing, only the lock is gone. For tests."""
        self._stop()
        if self._session.is_open:
            self._session.presence.leave(self.member_id, forget=False)

    def _stop(self) -> None:
        self._left = True
        self._stop_listening()
        if self._flush is not None:
            self._flush.cancel()
        for task in self._tasks:
            task.cancel()
        self._wake.set()

    def _look(self) -> None:
        """Called after every change of the file: is there a new message, or a change of the group?"""
        try:
            seen = self._session.reader.ask(read_counters)
        except FlowcraftError as error:
            logger.warning("the job queue cannot be read; looking again: %s", error)
            return
        group, offset = self._seen
        self._seen = seen
        if seen[0] != group:
            self._changed.set()
        if seen[1] != offset:
            self._unread.update(self._positions)
            self._wake.set()

    def _collect(self, limit: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        self._turn += 1
        # Begin elsewhere each time, so that a full partition does not starve the others.
        for partition in sorted(self._unread - self._revoking, key=lambda place: (place + self._turn) % 8191):
            left = limit - len(deliveries)
            if left <= 0:
                break
            try:
                rows = self._session.reader.read(_NEXT, (partition, self._positions[partition], left))
            except StoreUnavailable as error:
                raise QueueUnavailable(error.fields["reason"], queue="embedded") from error
            if len(rows) < left:
                self._unread.discard(partition)
            for offset, key, value, headers in rows:
                self._positions[partition] = offset
                self._outstanding[partition].add(offset)
                message = Message(key, value, {} if headers == "{}" else json.loads(headers))
                deliveries.append(Delivery(message, partition, offset))
        return deliveries

    def _flush_settled(self) -> None:
        self._flush = None
        settled, self._settled = self._settled, []
        if not settled or not self._session.is_open:
            return
        places = tuple((partition, offset) for partition, offset, _ in settled)
        stored = self._session.writer.submit(SETTLE, Settlement(self.member_id, places))
        self._settling.add(stored)

        def note(done: asyncio.Future[None]) -> None:
            self._settling.discard(done)
            failure = None if done.cancelled() else done.exception()
            if failure is None or self._left:
                return
            logger.warning("settled messages could not be stored; trying again: %s", failure)
            self._settled += [place for place in settled if self._terms.get(place[0]) == place[2]]
            if self._flush is None:
                self._flush = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._flush_settled)

        stored.add_done_callback(note)

    async def _keep_membership(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(CHECK_SECONDS, self._changed.set)
            await self._changed.wait()
            timer.cancel()
            self._changed.clear()
            try:
                await self._regroup()
            except InfrastructureError as error:
                logger.warning("member %s cannot look after its partitions: %s", self.member_id, error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # Without this loop the member would hold its partitions and never give one up.
                logger.exception("member %s cannot look after its partitions", self.member_id)
                await asyncio.sleep(RETRY_SECONDS)

    async def _regroup(self) -> None:
        """One step towards the assignment that all members work out alike."""
        view = self._session.reader.ask(read_group)
        me = self.member_id
        # What is being released is nobody's loss, though others may hold it already.
        mine_before = self._positions.keys() - self._releasing
        lost = {partition for partition in mine_before if view.holders.get(partition) != me}
        if lost:
            logger.warning("member %s lost partitions %s: others took it for dead", me, sorted(lost))
            self._drop(lost)
            if self._on_revoked is not None:
                self._spawn(self._call_back(frozenset(lost), 0.0))
        presence = self._session.presence
        if me not in view.members:
            # Whoever took this member for dead has removed its file as well.
            presence.leave(me)
            presence.hold(me)
        dead = frozenset(name for name in view.members if name != me and presence.is_silent(name))
        living = (view.members - dead) | {me}
        target = assign_partitions(living, view.holders)
        mine = {partition for partition, name in target.items() if name == me}
        take = frozenset(place for place in mine - self._revoking if view.holders[place] not in living)
        if dead or take or me not in view.members:
            held = await self._session.write(CHANGE_GROUP, self._plan(dead=dead, take=take))
            for name in dead:
                presence.forget(name)
            self._hold(held - self._positions.keys() - self._revoking)
        surplus = self._positions.keys() - mine - self._revoking
        if surplus:
            self._revoking |= surplus
            self._spawn(self._revoke(frozenset(surplus)))

    async def _revoke(self, partitions: frozenset[int]) -> None:
        await self._call_back(partitions, self._revoke_seconds)
        self._flush_settled()
        self._releasing |= partitions
        while True:
            try:
                await self._session.write(CHANGE_GROUP, self._plan(release=partitions))
                break
            except InfrastructureError as error:
                logger.warning("member %s cannot release partitions; trying again: %s", self.member_id, error)
                await asyncio.sleep(RETRY_SECONDS)
        self._drop(partitions)
        self._releasing -= partitions
        self._revoking -= partitions
        self._changed.set()

    async def _call_back(self, partitions: frozenset[int], seconds: float) -> None:
        if self._on_revoked is None:
            return
        try:
            await await_within(self._on_revoked(partitions, seconds), seconds + GRACE_SECONDS)
        except asyncio.TimeoutError:
            logger.warning("partitions %s are given up with work in flight; it comes again", sorted(partitions))
        except Exception:
            logger.exception("the revoke callback of member %s failed", self.member_id)

    def _hold(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self._takes += 1
            self._terms[partition] = self._takes
            self._positions[partition] = 0
            self._outstanding[partition] = set()
            self._unread.add(partition)
        if partitions:
            self._wake.set()

    def _drop(self, partitions: frozenset[int] | set[int]) -> None:
        for partition in partitions:
            for table in (self._terms, self._positions, self._outstanding):
                table.pop(partition, None)
            self._unread.discard(partition)

    def _plan(
        self,
        dead: frozenset[str] = frozenset(),
        take: frozenset[int] = frozenset(),
        release: frozenset[int] = frozenset(),
        leave: bool = False,
    ) -> GroupChange:
        return GroupChange(self.member_id, self._worker_id, self._slot, dead, take, release, leave)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _do_nothing() -> None:
    """Stands in until there is something to stop."""
