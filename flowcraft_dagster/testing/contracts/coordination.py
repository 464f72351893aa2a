"""What every coordination store must do, and what losing it must not do."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import COMPLETED, CommitOutcome, RunHeader
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.samples import load, new_id, new_run, next_commit
from flowcraft_dagster.timeouts import await_within


class CoordinationContract(BackendContract):
    """Leases and announcements."""

    @abstractmethod
    async def flush_hints(self, backend: Backend) -> None:
        """Make the coordination store forget everything, as a FLUSHALL does."""

    @on_backend
    async def test_a_lease_has_one_owner(self, backend: Backend) -> None:
        name = new_id("lease")
        assert await backend.coordination.acquire_lease(name, "one", 60)
        assert not await backend.coordination.acquire_lease(name, "two", 60)
        assert await backend.coordination.acquire_lease(name, "one", 60), "an owner could not renew its lease"
        assert await backend.coordination.acquire_lease(new_id("lease"), "two", 60)

    @on_backend
    async def test_of_many_at_once_one_gets_the_lease(self, backend: Backend) -> None:
        name = new_id("lease")
        async with self.connected() as other:
            stores = [backend.coordination, other.coordination] * 4
            answers = await asyncio.gather(
                *(store.acquire_lease(name, f"owner-{place}", 60) for place, store in enumerate(stores))
            )
        assert sum(answers) == 1

    @on_backend
    async def test_only_its_owner_gives_a_lease_back(self, backend: Backend) -> None:
        name = new_id("lease")
        assert await backend.coordination.acquire_lease(name, "one", 60)
        await backend.coordination.release_lease(name, "two")
        assert not await backend.coordination.acquire_lease(name, "two", 60)
        await backend.coordination.release_lease(name, "one")
        assert await backend.coordination.acquire_lease(name, "two", 60)
        await backend.coordination.release_lease(new_id("lease"), "one")

    @on_backend
    async def test_a_lease_expires(self, backend: Backend) -> None:
        name = new_id("lease")
        assert await backend.coordination.acquire_lease(name, "one", 0.2)

        async def is_free() -> bool:
            return await backend.coordination.acquire_lease(name, "two", 60)

        await self.eventually(is_free, "the lease expires")

    @on_backend
    async def test_a_renewed_lease_does_not_expire(self, backend: Backend) -> None:
        name = new_id("lease")
        assert await backend.coordination.acquire_lease(name, "one", 0.2)
        assert await backend.coordination.acquire_lease(name, "one", 60)
        await asyncio.sleep(self.quiet)
        assert not await backend.coordination.acquire_lease(name, "two", 60)

    @on_backend
    async def test_an_announcement_wakes_those_who_wait(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        async with self.connected() as other:
            waiting = [
                asyncio.ensure_future(place.coordination.await_run(header.run_id, self.patience))
                for place in (backend, backend, other)
            ]
            await asyncio.sleep(self.quiet)
            assert not any(waiter.done() for waiter in waiting), "heard of a change that was not there"
            await _finish(backend, header)
            assert await asyncio.gather(*waiting) == [True, True, True]

    @on_backend
    async def test_a_change_made_elsewhere_is_heard(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        async with self.connected() as other:
            waiting = asyncio.ensure_future(backend.coordination.await_run(header.run_id, self.patience))
            await asyncio.sleep(self.quiet)
            await _finish(other, header)
            assert await waiting is True

    @on_backend
    async def test_waiting_ends_when_nothing_is_heard(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        elsewhere = await new_run(backend.state)
        waiting = asyncio.ensure_future(backend.coordination.await_run(header.run_id, self.quiet))
        await asyncio.sleep(0)
        await _finish(backend, elsewhere)
        assert await await_within(waiting, self.patience) is False
        assert await await_within(backend.coordination.await_run(new_id(), 0.01), self.patience) is False

    @on_backend
    async def test_a_flush_costs_nothing_but_time(self, backend: Backend) -> None:
        header = await new_run(backend.state)
        lease = new_id("lease")
        assert await backend.coordination.acquire_lease(lease, "one", 60)
        waiting = asyncio.ensure_future(backend.coordination.await_run(header.run_id, self.patience))
        await asyncio.sleep(self.quiet)
        before = await load(backend.state, header.run_id)
        await self.flush_hints(backend)
        assert await load(backend.state, header.run_id) == before
        assert await backend.coordination.acquire_lease(lease, "two", 60)
        await backend.coordination.release_lease(lease, "one")
        await _finish(backend, header)
        assert await waiting is True
        assert await backend.coordination.check_health() is None


async def _finish(backend: Backend, header: RunHeader) -> None:
    """End a run and announce it, as its owner does."""
    commit = next_commit(header, "end/a", status=COMPLETED)
    assert await backend.state.commit(commit) is CommitOutcome.APPLIED
    await backend.index.publish((await load(backend.state, header.run_id)).header)
    await backend.coordination.announce_runs([header.run_id])
