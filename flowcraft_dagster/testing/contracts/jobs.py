"""What every job queue must do."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.queue import JobConsumer
from flowcraft_dagster.ports.records import Message
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.members import (
    Member,
    first_halves,
    let_go,
    make_messages,
    values_of_key,
)
from flowcraft_dagster.testing.contracts.samples import new_id
from flowcraft_dagster.timeouts import await_within

Check = Callable[[], bool]
MANY = 120
"""Messages with as many keys: enough for every partition of a small topic to get some."""


class JobQueueContract(BackendContract):
    """Partitions, order, redelivery and the group.

    Attributes:
        revoke_seconds: ``connect`` must make backends whose members have about this long to give partitions up.
    """

    revoke_seconds: float = 1.0

    @abstractmethod
    async def kill_consumer(self, consumer: JobConsumer) -> None:
        """Let a consumer die as if its process had been killed: it stores nothing more and says nothing."""

    @on_backend
    async def test_messages_arrive_as_they_were_sent(self, backend: Backend) -> None:
        messages = [
            Message("run-é", b'{"runId":"run"}', {"trace": "a=b", "é": "ü"}),
            Message("run-1", b"\x00\xff not JSON"),
            Message("run-2", b""),
        ]
        async with self.joined(backend) as member:
            await backend.jobs.send([])
            await backend.jobs.send(messages)
            await self.until(member, lambda: len(member.deliveries) >= 3, "all three arrive")
        found = {delivery.message.value: delivery.message for delivery in member.deliveries}
        for message in messages:
            assert found[message.value].key == message.key
            assert dict(found[message.value].headers) == dict(message.headers)

    @on_backend
    async def test_messages_of_a_key_keep_their_order(self, backend: Backend) -> None:
        keys = [new_id() for _ in range(8)]
        async with self.joined(backend) as member:
            for turn in range(10):
                await backend.jobs.send([Message(key, f"{key}/{turn}".encode()) for key in keys])
            await self.until(member, lambda: len(member.deliveries) >= 80, "all arrive")
        for key in keys:
            mine = [delivery for delivery in member.deliveries if delivery.message.key == key]
            assert [delivery.message.value for delivery in mine] == [f"{key}/{turn}".encode() for turn in range(10)]
            assert len({delivery.partition for delivery in mine}) == 1
            assert [delivery.offset for delivery in mine] == sorted({delivery.offset for delivery in mine})

    @on_backend
    async def test_messages_sent_before_the_first_member_are_kept(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(5))
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= 5, "all arrive")

    @on_backend
    async def test_a_fetch_keeps_to_its_limit(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(20))
        consumer = backend.jobs.open_consumer("slot-1", new_id("worker"))
        await consumer.start(let_go)
        found = 0
        while found < 20:
            deliveries = await await_within(consumer.fetch(3), self.patience)
            assert len(deliveries) <= 3
            found += len(deliveries)
        await consumer.close()

    @on_backend
    async def test_settled_messages_never_return(self, backend: Backend) -> None:
        before = await backend.jobs.measure_lag()
        await backend.jobs.send(make_messages(MANY))
        assert await backend.jobs.measure_lag() == before + MANY
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= MANY, "all arrive")
            member.consumer.settle(member.deliveries[: MANY // 2])
            member.consumer.settle(member.deliveries[MANY // 2 :])

            async def is_empty() -> bool:
                return await backend.jobs.measure_lag() == before

            await self.eventually(is_empty, "nothing waits to be settled")
        async with self.joined(backend) as other:
            await self.quieten(other)
            assert other.values == []

    @on_backend
    async def test_what_is_settled_just_before_leaving_is_stored(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(30))
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= 30, "all arrive")
            member.consumer.settle(member.deliveries)
        async with self.joined(backend) as other:
            await self.quieten(other)
            assert other.values == []

    @on_backend
    async def test_unsettled_messages_come_again_after_leaving(self, backend: Backend) -> None:
        messages = make_messages(30)
        await backend.jobs.send(messages)
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= 30, "all arrive")
        async with self.joined(backend) as other:
            await self.until(other, lambda: len(other.deliveries) >= 30, "all come again")
            assert sorted(other.values) == sorted(message.value for message in messages)
            for key in {message.key for message in messages}:
                assert values_of_key(other, key) == values_of_key(member, key)

    @on_backend
    async def test_a_message_behind_an_unsettled_one_does_not_hide_it(self, backend: Backend) -> None:
        key = new_id()
        await backend.jobs.send([Message(key, f"{place}".encode()) for place in range(6)])
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= 6, "all arrive")
            member.consumer.settle([member.deliveries[place] for place in (0, 1, 3, 5)])
        async with self.joined(backend) as other:
            await self.until(other, lambda: {b"2", b"4"} <= set(other.values), "the unsettled ones come again")
            await self.quieten(other)
            assert not {b"0", b"1"} & set(other.values), "a settled prefix came again"
            assert other.values == sorted(other.values)

    @on_backend
    async def test_a_dead_members_messages_go_to_another(self, backend: Backend) -> None:
        messages = make_messages(MANY)
        await backend.jobs.send(messages)
        async with self.joined(backend) as member, self.connected() as elsewhere:
            await self.until(member, lambda: len(member.deliveries) >= MANY, "all arrive")
            settled = first_halves(member.deliveries)
            member.consumer.settle(settled)

            async def is_stored() -> bool:
                return await backend.jobs.measure_lag() <= MANY - len(settled)

            await self.eventually(is_stored, "what was settled is stored")
            await self.kill(member)
            expected = {message.value for message in messages} - {delivery.message.value for delivery in settled}
            async with self.joined(elsewhere, "slot-2") as other:
                await self.until(other, lambda: expected <= set(other.values), "the unsettled ones come again")
                await self.quieten(other)
                assert set(other.values) == expected, "a settled message came again"

    @on_backend
    async def test_a_dead_member_settles_nothing(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(10))
        async with self.joined(backend) as member:
            await self.until(member, lambda: len(member.deliveries) >= 10, "all arrive")
            await self.kill(member)
            async with self.joined(backend, "slot-2") as other:
                await self.until(other, lambda: len(other.deliveries) >= 10, "all come again")
                member.consumer.settle(member.deliveries)
                await self.kill(other)
            async with self.joined(backend, "slot-3") as third:
                await self.until(third, lambda: len(third.deliveries) >= 10, "all come a third time")

    @on_backend
    async def test_two_members_share_the_partitions(self, backend: Backend) -> None:
        async with self.joined(backend) as first, self.connected() as elsewhere:
            first.hold.set()
            await self.share(backend, [first])
            async with self.joined(elsewhere, "slot-2") as second:
                second.hold.set()
                await self.share(backend, [first, second])
                start = (len(first.deliveries), len(second.deliveries))
                messages = make_messages(MANY)
                await elsewhere.jobs.send(messages)
                await self.until(
                    first, lambda: len(first.values) + len(second.values) >= sum(start) + MANY, "all arrive"
                )
                mine, theirs = first.deliveries[start[0] :], second.deliveries[start[1] :]
                assert sorted(x.message.value for x in (*mine, *theirs)) == sorted(x.value for x in messages)
                assert not {x.partition for x in mine} & {x.partition for x in theirs}
            await self.share(backend, [first])

    @on_backend
    async def test_a_revoke_lets_work_in_flight_end(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(MANY))
        async with self.joined(backend) as first:
            await self.until(first, lambda: len(first.deliveries) >= MANY, "all arrive")
            async with self.joined(backend, "slot-2") as second:
                await self.until(first, lambda: bool(first.revoked), "the first member is asked to give up partitions")
                partitions, seconds = first.revoked[0]
                assert partitions
                assert 0 < seconds <= self.revoke_seconds * 1.5
                # Half of what is in flight ends in time, half does not.
                leaving = [delivery for delivery in first.deliveries if delivery.partition in partitions]
                ended = first_halves(leaving)
                assert second.deliveries == [], "given away before the first member let go"
                first.consumer.settle(ended)
                first.hold.set()
                expected = {x.message.value for x in leaving} - {x.message.value for x in ended}
                await self.until(second, lambda: expected <= set(second.values), "what did not end comes again")
                await self.quieten(second)
                assert set(second.values) == expected, "what ended in time came again"
                # What the first member kept is still its own.
                kept = [delivery for delivery in first.deliveries if delivery.partition not in partitions]
                first.consumer.settle(kept)
                second.consumer.settle(second.deliveries)

            async def is_empty() -> bool:
                return await backend.jobs.measure_lag() == 0

            await self.eventually(is_empty, "both members could settle what they held")
            assert all(seconds > 0 for _, seconds in first.revoked), "told of a loss that was a hand-over"

    @on_backend
    async def test_leaving_partitions_deliver_nothing_more(self, backend: Backend) -> None:
        async with self.joined(backend) as first:
            await self.share(backend, [first])
            place_of = {delivery.message.key: delivery.partition for delivery in first.deliveries}
            async with self.joined(backend, "slot-2") as second:
                await self.until(first, lambda: bool(first.revoked), "the first member is asked to give up partitions")
                messages = [Message(key, new_id("late").encode()) for key in place_of]
                await backend.jobs.send(messages)
                await asyncio.sleep(self.revoke_seconds / 3)
                first.hold.set()
                leaving = {x.value for x in messages if place_of[x.key] in first.revoked[0][0]}
                assert leaving
                await self.until(second, lambda: leaving <= set(second.values), "the next holder gets them")
                assert not leaving & set(first.values)

    @on_backend
    async def test_a_revoke_that_does_not_end_is_cut_short(self, backend: Backend) -> None:
        await backend.jobs.send(make_messages(MANY))
        async with self.joined(backend) as first:
            await self.until(first, lambda: len(first.deliveries) >= MANY, "all arrive")
            async with self.joined(backend, "slot-2") as second:
                await self.until(second, lambda: bool(second.deliveries), "the second member gets partitions anyway")
                await self.quieten(second)
                taken = set(second.values)
                # Too late: these partitions are somebody else's now.
                first.consumer.settle([x for x in first.deliveries if x.message.value in taken])
                await self.quieten(second)
                await self.kill(second)
                await self.kill(first)
            async with self.joined(backend, "slot-3") as third:
                await self.until(third, lambda: taken <= set(third.values), "late settling was ignored")

    @on_backend
    async def test_a_paused_member_stays_in_the_group(self, backend: Backend) -> None:
        async with self.joined(backend) as member:
            await self.share(backend, [member])
            member.consumer.pause()
            await self.quieten(member)
            start = len(member.deliveries)
            await backend.jobs.send(make_messages(10))
            await self.quieten(member)
            assert len(member.deliveries) == start
            assert member.revoked == []
            member.consumer.resume()
            await self.until(member, lambda: len(member.deliveries) == start + 10, "all arrive after resuming")

    @on_backend
    async def test_closing_ends_a_fetch_in_progress(self, backend: Backend) -> None:
        consumer = backend.jobs.open_consumer("slot-1", new_id("worker"))
        await consumer.start(let_go)
        fetching = asyncio.ensure_future(consumer.fetch(1))
        await asyncio.sleep(0)
        await consumer.close()
        assert list(await await_within(fetching, self.patience)) == []

    # -- means ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def joined(self, backend: Backend, slot: str = "slot-1") -> AsyncIterator[Member]:
        """A started member that collects, for the length of a block; harmless when it was killed meanwhile."""
        member = Member(backend.jobs.open_consumer(slot, new_id("worker")))
        await member.consumer.start(member.on_revoked)
        member.collecting = asyncio.create_task(member.collect())
        try:
            yield member
        finally:
            await member.stop_collecting()
            member.hold.set()
            await member.consumer.close()

    async def kill(self, member: Member) -> None:
        """Let a member die; what it was given stays known to the test."""
        await member.stop_collecting()
        await self.kill_consumer(member.consumer)

    async def until(self, member: Member, check: Check, what: str) -> None:
        """Wait until ``check`` holds, looking whenever ``member`` has news."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while not check():
            if loop.time() > end:
                raise AssertionError(f"not within {self.patience:g} s: {what}")
            member.news.clear()
            timer = loop.call_later(0.05, member.news.set)
            await member.news.wait()
            timer.cancel()

    async def quieten(self, member: Member) -> None:
        """Wait until a member has heard nothing for ``quiet`` seconds."""
        count = -1
        while count != len(member.deliveries):
            count = len(member.deliveries)
            await asyncio.sleep(self.quiet)

    async def share(self, backend: Backend, members: list[Member]) -> None:
        """Send probes, and settle them, until each member gets some of every lot, and nobody gets any twice."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while loop.time() < end:
            starts = [len(member.deliveries) for member in members]
            messages = make_messages(MANY)
            await backend.jobs.send(messages)
            lot = {message.value for message in messages}

            def count(lot: set[bytes] = lot, starts: list[int] = starts) -> list[int]:
                return [
                    sum(value in lot for value in member.values[start:])
                    for member, start in zip(members, starts, strict=True)
                ]

            for _ in range(int(self.patience / 0.01)):
                if sum(count()) >= MANY:
                    break
                await asyncio.sleep(0.01)
            for member, start in zip(members, starts, strict=True):
                member.consumer.settle(member.deliveries[start:])
            if all(count()) and sum(count()) == MANY:
                return
        raise AssertionError(f"not within {self.patience:g} s: {len(members)} members share the partitions")
