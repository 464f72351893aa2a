"""Worker processes that die, freeze and come back, over one backend that outlives them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import InfrastructureError, QueueUnavailable, StoreUnavailable
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.faults import FaultPoint, arm, disarm
from flowcraft_dagster.runtime.reconciler import Reconciler
from flowcraft_dagster.runtime.worker import Worker
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.simulation.journal import Journal
from flowcraft_dagster.testing.simulation.loop import SimulatedClock
from flowcraft_dagster.testing.simulation.network import Connection, Weather, connect
from flowcraft_dagster.wiring import make_backend

_process: ContextVar[SimulatedProcess | None] = ContextVar("simulated_process", default=None)


@dataclass(eq=False)
class SimulatedProcess:
    """One life of a worker process.

    Attributes:
        slot: the place it fills.
        connection: its way to the backend.
        worker: what runs in it.
        died: set when it is dead, or has been thrown out of the group.
    """

    slot: str
    connection: Connection
    worker: Worker
    died: asyncio.Event

    def kill(self) -> None:
        """As ``kill -9``: nothing that runs in it has an effect any more."""
        self.connection.kill()
        self.died.set()

    async def freeze(self, seconds: float, *, loses_membership: bool) -> None:
        """Stop for a while, as in a long pause of the machine; then go on with a stale view of the world."""
        self.connection.freeze()
        if loses_membership:
            self.connection.lose_membership()
            self.died.set()
        # By a timer of its own: the task that met the fault may be cancelled meanwhile.
        asyncio.get_running_loop().call_later(seconds, self.connection.thaw)
        await self.connection.clock.sleep(seconds)


class SimulatedCluster:
    """Workers over one backend; use as an async context manager inside ``run_simulated``.

    Args:
        app: blueprints and async nodes; the journal is added to its listeners.
        clock: virtual time.
        dice: chance.
        workers: how many processes.
        weather: of the network.
        settings: options of workers and client.
        crash_chance: that a process is killed, frozen or thrown out of the group as it passes a fault point.
        most_crashes: crashes before everything stays well, so that a run can end.
        skew_seconds: by how much the clocks of two processes differ at the most.
        open_backend: the backend as the process with a connection has it, or one that never dies (None); a memory
            backend for all by default.
    """

    def __init__(
        self,
        app: Flowcraft,
        clock: Clock,
        dice: random.Random,
        *,
        workers: int = 2,
        weather: Weather | None = None,
        settings: Settings | None = None,
        crash_chance: float = 0.0,
        most_crashes: int = 6,
        skew_seconds: float = 0.0,
        open_backend: Callable[[Connection | None], Backend] | None = None,
    ) -> None:
        self.app = app
        self.clock = clock
        self.dice = dice
        self.weather = weather or Weather()
        self.settings = settings or Settings(backend="memory")
        if open_backend is None:
            shared = make_backend(self.settings, clock)
            open_backend = lambda _: shared  # noqa: E731 - one line says it
        self._open_backend = open_backend
        self.backend: Backend = open_backend(None)
        self.journal = Journal(blueprints=app.blueprints)
        self.processes: list[SimulatedProcess] = []
        self.crashes = 0
        app.listeners.append(self.journal.watch)
        self._count = workers
        self._crash_chance = crash_chance
        self._most_crashes = most_crashes
        self._skew = skew_seconds
        self._connections: list[Connection] = []
        self._supervisors: list[asyncio.Task[None]] = []
        # What waits in a dead process would be garbage, and asyncio complains of tasks that are collected.
        self._graves: list[tuple[SimulatedProcess, asyncio.Task[None]]] = []
        self.client: AsyncClient = app.async_client(
            self.settings, backend=self.connect_process(), clock=clock, dice=dice
        )

    def connect_process(self) -> Backend:
        """The backend as one more process sees it."""
        return self._connect()[0]

    def _connect(self) -> tuple[Backend, Connection]:
        connection = Connection(self.weather, self.clock, self.dice, self.journal)
        self._connections.append(connection)
        return connect(self._open_backend(connection), connection), connection

    def reconciler(self, stalled_after: float = 30.0) -> Reconciler:
        """A reconciler in a process of its own."""
        return Reconciler(self.connect_process(), self.clock, stalled_after=stalled_after, dice=self.dice)

    async def __aenter__(self) -> SimulatedCluster:
        if self._crash_chance:
            for point in FaultPoint:
                arm(point, self._meet_fault)
        for slot in range(self._count):
            self._supervisors.append(asyncio.ensure_future(self._supervise(str(slot))))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        disarm()
        for connection in self._connections:
            connection.end()
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)

    async def _supervise(self, slot: str) -> None:
        """Start a process, and another one whenever it is gone."""
        while True:
            process = self._make_process(slot)
            self.processes.append(process)
            _process.set(process)
            running = asyncio.ensure_future(process.worker.run())
            dying = asyncio.ensure_future(process.died.wait())
            await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if running.done():
                error = running.exception()
                if error is not None and not isinstance(error, InfrastructureError):
                    self.journal.failures.append(f"worker {process.worker.worker_id}: {error!r}")
                process.connection.lose_membership()
            self.processes.remove(process)
            self._graves.append((process, running))
            await self.clock.sleep(self.dice.random() * 3)

    def _make_process(self, slot: str) -> SimulatedProcess:
        backend, connection = self._connect()
        clock = SimulatedClock(asyncio.get_running_loop(), (self.dice.random() - 0.5) * self._skew)
        worker = self.app.worker(self.settings, backend=backend, clock=clock, dice=self.dice, slot=slot)
        return SimulatedProcess(slot, connection, worker, asyncio.Event())

    async def strike(self, fate: str, *, seconds: float) -> None:
        """Let the process that calls this, by way of a fault point, meet its fate.

        Args:
            fate: ``kill``, ``freeze``, ``lose`` (frozen, and its partitions go to others meanwhile), ``raise`` (an
                error that nobody foresaw), ``fail`` (an error of a server), ``delay`` (what passes the point takes
                long, all else goes on) or ``duplicate`` (all messages come again).
            seconds: how long it is frozen or delayed.

        Raises:
            QueueUnavailable: it is a client: it died between two writes, and whoever called it may do so again.
            StoreUnavailable, RuntimeError: its fate.
        """
        process = _process.get()
        self.crashes += 1
        if fate == "duplicate":
            await self.backend.jobs.send(list(self.journal.messages))
            return
        if fate == "delay":
            await self.clock.sleep(seconds)
            return
        if process is None:
            raise QueueUnavailable("the client was killed", queue="simulated")
        if fate == "raise":
            raise RuntimeError("nobody foresaw this")
        if fate == "fail":
            raise StoreUnavailable("the server is away", store="simulated")
        if fate == "kill":
            process.kill()
            await process.connection.hang()
        await process.freeze(seconds, loses_membership=fate == "lose")

    async def _meet_fault(self, _: FaultPoint) -> None:
        if self.crashes < self._most_crashes and self.dice.random() < self._crash_chance:
            fate = self.dice.choice(["kill", "kill", "freeze", "lose"])
            await self.strike(fate, seconds=self.dice.random() * 40)
