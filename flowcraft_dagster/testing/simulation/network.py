"""A backend seen through a bad network: calls take time, fail before or after their effect, messages come twice.

Each simulated process has a :class:`Connection` of its own to the shared backend, which can be cut for good (the
process was killed) or for a while (it is frozen).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flowcraft_dagster.errors import FlowcraftError, QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.queue import JobConsumer, Revoked
from flowcraft_dagster.ports.records import Commit, CommitOutcome, Delivery, Message
from flowcraft_dagster.testing.simulation.journal import Journal

T = TypeVar("T")


@dataclass
class Weather:
    """How bad it is; all figures may change while the simulation runs.

    Attributes:
        delay_seconds: longest time a call takes each way.
        failure_chance: that a call fails; half of these fail after their effect.
        duplicate_chance: that a message is sent twice, the second time up to 5 s later.
        reorder_chance: that a batch of deliveries is handed over in another order.
        store_down: whether every call to the store, the index and the workers' records fails.
        queue_down: whether every call to the queue fails.
    """

    delay_seconds: float = 0.0
    failure_chance: float = 0.0
    duplicate_chance: float = 0.0
    reorder_chance: float = 0.0
    store_down: bool = False
    queue_down: bool = False


class Connection:
    """One process's way to the backend.

    Args:
        weather: shared by all connections.
        clock: virtual time.
        dice: chance.
        journal: notes every commit that applies.
    """

    def __init__(self, weather: Weather, clock: Clock, dice: random.Random, journal: Journal) -> None:
        self.weather = weather
        self.clock = clock
        self.dice = dice
        self.journal = journal
        self.is_dead = False
        self._frozen_at: float | None = None
        self.consumers: list[Any] = []
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._is_over = False
        # Held here, or the garbage collector would find the tasks of a dead process.
        self._hung: list[asyncio.Future[None]] = []

    def kill(self) -> None:
        """The process is dead: no call it has made or makes returns, its queue membership is gone."""
        self.is_dead = True
        self.lose_membership()

    def lose_membership(self) -> None:
        """The queue gives its partitions to others, as after a session time-out."""
        for consumer in self.consumers:
            consumer.kill()
        self.consumers.clear()

    def freeze(self) -> None:
        """Calls wait until :meth:`thaw`."""
        self._thawed.clear()
        self._frozen_at = self.clock.monotonic()

    def thaw(self) -> None:
        """Calls go on."""
        self._thawed.set()
        self._frozen_at = None

    @property
    def frozen_seconds(self) -> float:
        """For how long the process has stood still; 0 when it lives."""
        return 0.0 if self._frozen_at is None else self.clock.monotonic() - self._frozen_at

    async def await_thaw(self) -> None:
        """Return when the process does not stand still; never, when it is dead."""
        await self._pass_gate()

    def end(self) -> None:
        """The simulation is over: what still hangs is cancelled."""
        self._is_over = True
        self._thawed.set()
        for future in self._hung:
            future.cancel()

    async def call(self, call: Callable[[], Awaitable[T]], error: FlowcraftError | None, *, is_down: bool) -> T:
        """Make a call through the network.

        Args:
            call: reaches the backend.
            error: what a failure raises; None for calls that never fail.
            is_down: whether the server is away.
        """
        await self._travel()
        if error is not None and is_down:
            raise error
        fails = error is not None and self.dice.random() < self.weather.failure_chance
        if error is not None and fails and self.dice.random() < 0.5:
            raise error
        result = await call()
        await self._travel()
        if error is not None and fails:
            raise error
        return result

    async def _travel(self) -> None:
        await self._pass_gate()
        if self.weather.delay_seconds:
            await self.clock.sleep(self.dice.random() * self.weather.delay_seconds)
            await self._pass_gate()

    async def _pass_gate(self) -> None:
        if self._is_over:
            raise asyncio.CancelledError
        await self._thawed.wait()
        if self.is_dead:
            await self.hang()

    async def hang(self) -> None:
        """Never return, as code of a dead process."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hung.append(future)
        await future


class _Port:
    """Any port: all of its coroutine functions go through the network."""

    def __init__(self, connection: Connection, inner: Any, kind: str) -> None:
        self._connection = connection
        self._inner = inner
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._inner, name)

        async def call(*arguments: Any) -> Any:
            return await self._send(lambda: function(*arguments))

        return call

    async def _send(self, call: Callable[[], Awaitable[T]]) -> T:
        weather = self._connection.weather
        if self._kind == "queue":
            lost = QueueUnavailable("it does not answer", queue="simulated")
            return await self._connection.call(call, lost, is_down=weather.queue_down)
        if self._kind == "store":
            away = StoreUnavailable("it does not answer", store="simulated")
            return await self._connection.call(call, away, is_down=weather.store_down)
        return await self._connection.call(call, None, is_down=False)


class _State(_Port):
    async def commit(self, commit: Commit) -> CommitOutcome:
        """See ``StateStore.commit``; the journal is written in the same moment."""
        return await self._send(lambda: self._connection.journal.commit(self._inner, commit))


class _Jobs(_Port):
    async def send(self, messages: Sequence[Message]) -> None:
        """See ``JobQueue.send``; some messages are sent once more, later."""
        await self._send(lambda: self._inner.send(messages))
        connection = self._connection
        connection.journal.messages.extend(messages)
        again = [message for message in messages if connection.dice.random() < connection.weather.duplicate_chance]
        if again:
            asyncio.get_running_loop().create_task(self._repeat(again))

    async def _repeat(self, messages: Sequence[Message]) -> None:
        await asyncio.sleep(self._connection.dice.random() * 5)
        await self._inner.send(messages)

    def open_consumer(self, slot: str, worker_id: str) -> JobConsumer:
        """See ``JobQueue.open_consumer``."""
        inner = self._inner.open_consumer(slot, worker_id)
        self._connection.consumers.append(inner)
        return _Consumer(self._connection, inner)


class _Consumer:
    """A ``JobConsumer`` of a process that may be dead."""

    def __init__(self, connection: Connection, inner: Any) -> None:
        self._connection = connection
        self._inner = inner

    async def start(self, on_revoked: Revoked) -> None:
        await self._inner.start(on_revoked)

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        if self._inner not in self._connection.consumers:
            # Thrown out of the group, or dead: nothing comes any more.
            await self._connection.hang()
        deliveries = list(await self._inner.fetch(limit))
        await self._connection.call(_do_nothing, None, is_down=False)
        if self._connection.dice.random() < self._connection.weather.reorder_chance:
            self._connection.dice.shuffle(deliveries)
        return deliveries

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        if not self._connection.is_dead:
            self._inner.settle(deliveries)

    def pause(self) -> None:
        self._inner.pause()

    def resume(self) -> None:
        self._inner.resume()

    async def close(self) -> None:
        await self._connection.call(self._inner.close, None, is_down=False)


async def _do_nothing() -> None:
    return None


class _Backend:
    """A ``Backend`` seen through a connection."""

    def __init__(self, connection: Connection, inner: Backend) -> None:
        self.name = inner.name
        self.state: Any = _State(connection, inner.state, "store")
        self.index: Any = _Port(connection, inner.index, "store")
        self.workers: Any = _Port(connection, inner.workers, "store")
        self.jobs: Any = _Jobs(connection, inner.jobs, "queue")
        self.dead_letters: Any = _Port(connection, inner.dead_letters, "queue")
        self.requests: Any = _Port(connection, inner.requests, "queue")
        self.coordination: Any = _Port(connection, inner.coordination, "hint")
        self.open = inner.open
        self.close = inner.close
        self.create_schema = inner.create_schema
        self.delete_schema = inner.delete_schema
        self.check_health = inner.check_health


def connect(inner: Backend, connection: Connection) -> Backend:
    """The backend as a process sees it through its connection."""
    return _Backend(connection, inner)
