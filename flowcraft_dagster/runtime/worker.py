"""A worker: takes messages from the queue, drives a lane for each run, and leaves without losing anything."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from flowcraft_dagster.engine.execution import Workshop
from flowcraft_dagster.engine.threads import SyncThreads
from flowcraft_dagster.errors import (
    FlowcraftError,
    InfrastructureError,
    MessageError,
    NodeNotRegistered,
    RunNotFound,
    UnknownBlueprint,
    WorkerFailed,
)
from flowcraft_dagster.ports.records import Delivery
from flowcraft_dagster.runtime.availability import Availability
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.commit import Committer, OwnershipLost
from flowcraft_dagster.runtime.duties import Duty
from flowcraft_dagster.runtime.heartbeat import Heartbeat
from flowcraft_dagster.runtime.isolation import Isolator
from flowcraft_dagster.runtime.lane import RunLane
from flowcraft_dagster.runtime.messages import JobMessage, decode_job
from flowcraft_dagster.runtime.parking import ParkedRuns
from flowcraft_dagster.runtime.redelivery import Redelivery
from flowcraft_dagster.runtime.retention import RetentionService
from flowcraft_dagster.runtime.services import COUNTERS, LaneServices
from flowcraft_dagster.runtime.timers import TimerService
from flowcraft_dagster.runtime.worker_parts import WorkerParts

logger = logging.getLogger(__name__)

RESTING_LANES = 8
"""Lanes that may rest beside those that work, as a multiple of the limit of these."""

CLEAN_UP_SECONDS = 1.0
"""What interrupted nodes may take to clear up as their worker ends."""

Work = Callable[[], Coroutine[Any, Any, None]]
"""Is called where it is awaited, so that a worker that is stopped at once leaves no coroutine that never began."""


class Worker:
    """Runs until stopped.

    Args:
        parts: what it is made of.

    Attributes:
        worker_id: incarnation id, new for every worker object.
        counters: figures since the start.
    """

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{parts.dice.getrandbits(48):012x}"
        self.counters = dict.fromkeys(COUNTERS, 0)
        options, clock = parts.options, parts.clock
        availability = Availability(clock, 2.5 * options.heartbeat_seconds)
        self._heartbeat = Heartbeat(parts, self.worker_id, availability, self.describe_health)
        patience = Patience(
            clock,
            parts.dice,
            options.retry_base_seconds,
            options.retry_max_seconds,
            availability,
            self._heartbeat.tell_outages,
        )
        self._threads = SyncThreads(options.threads)
        self._consumer = parts.backend.jobs.open_consumer(parts.slot, self.worker_id)
        self._patience = patience
        self._isolator = (
            None
            if parts.app_target is None
            else Isolator(parts.app_target, parts.backend.index, options, clock, patience)
        )
        self._services = LaneServices(
            backend=parts.backend,
            options=options,
            clock=clock,
            dice=parts.dice,
            patience=patience,
            committer=Committer(parts.backend.state, clock, parts.dice, patience, self.worker_id),
            workshop=Workshop(
                self._threads, clock, parts.dependencies, tuple(parts.middleware), options.max_output_bytes
            ),
            registry=parts.registry,
            blueprints=parts.blueprints,
            listeners=tuple(parts.listeners),
            slots=asyncio.Semaphore(options.concurrency),
            worker_id=self.worker_id,
            settle=self._settle,
            note_rest=self._note_rest,
            isolate=None if self._isolator is None else self._isolator.run,
            counters=self.counters,
            started_at=self._heartbeat.started_at,
            availability=availability,
            parked=ParkedRuns(clock),
        )
        self._redelivery = Redelivery(self._services, parts.external_starts, self._forget)
        self._timers = TimerService(parts.backend, options, clock, self.worker_id, availability, patience.tell)
        self._lanes: dict[str, RunLane] = {}
        self._lane_tasks: dict[RunLane, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self._paused = False
        self._resting = 0
        self._failure: FlowcraftError | None = None
        self._drain_seconds = options.drain_seconds
        self.ready = asyncio.Event()
        self.should_recycle = False

    # -- the life of a worker ------------------------------------------------------------------------------------

    async def run(self, max_jobs: int | None = None) -> None:
        """Work until :meth:`stop`; then drain and leave the group.

        Args:
            max_jobs: after so many messages nothing new is taken, and the worker ends when what they began has ended
                or waits; None for no such limit.

        Raises:
            QueueUnavailable: the consumer cannot go on; nothing is lost, start a new worker.
            WorkerFailed: a part of it has ended by an error that is nobody's but this package's; likewise.
        """
        await self._heartbeat.record("alive")
        await self._consumer.start(self._revoke)
        clock = self._parts.clock
        parts: dict[str, Work] = {"fetching": partial(self._fetch, max_jobs), "timers": self._timers.run}
        parts |= {duty.name: partial(duty.repeat, clock) for duty in self._list_duties()}
        tasks = [asyncio.ensure_future(self._watch(name, work)) for name, work in parts.items()]
        self.ready.set()
        try:
            await self._stopping.wait()
        finally:
            await self._drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        if self._failure is not None:
            raise self._failure

    def stop(self, drain_seconds: float | None = None) -> None:
        """Drain and end; safe to call twice.

        Args:
            drain_seconds: how long running nodes may take; that of the options when None.
        """
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        self._stopping.set()

    async def _watch(self, name: str, work: Work, *, may_end: bool = False) -> None:
        """See a part of the worker through: without it the worker would go on as if it were whole."""
        try:
            await work()
            if may_end or self._stopping.is_set():
                return
            self._fail(WorkerFailed("it has ended", part=name))
        except InfrastructureError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("worker %s: %s cannot go on; the worker ends", self.worker_id, name)
            failure = WorkerFailed(f"{type(error).__name__}: {error}", part=name)
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, failure: FlowcraftError) -> None:
        if not failure.retryable:
            self._services.count("internal_errors")
        if self._failure is None:
            self._failure = failure
        self.stop()

    async def wait_idle(self) -> None:
        """Return when no lane is driven."""
        await self._idle.wait()

    @property
    def missing_kinds(self) -> set[str]:
        """Node kinds that runs have asked for in vain."""
        return self._redelivery.missing_kinds

    @property
    def live_runs(self) -> int:
        """How many runs this worker holds."""
        return len(self._lanes)

    def describe_health(self) -> dict[str, Any]:
        """Figures for health checks and metrics."""
        return {
            "lanes": len(self._lanes),
            "abandonedThreads": self._threads.abandoned,
            "trouble": self._patience.trouble,
            "paused": self._paused,
            **self.counters,
        }

    async def _close(self) -> None:
        try:
            await self._consumer.close()
            await self._heartbeat.record("stopped")
        except InfrastructureError as error:
            logger.warning("leaving without a word, since a server is away: %s", error)
        self._threads.close()
        if self._isolator is not None:
            await self._isolator.close()

    async def _drain(self) -> None:
        """Let running nodes end within the deadline; what is left is redelivered."""
        self._consumer.pause()
        for lane in list(self._lanes.values()):
            lane.stop()
        if tasks := [*self._lane_tasks.values(), *self._background]:
            await asyncio.wait(tasks, timeout=self._drain_seconds)
        # Looked up again: what holds messages of a lane may have begun meanwhile.
        lanes, left = list(self._lane_tasks), [*self._lane_tasks.values(), *self._background]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if interrupted := [task for lane in lanes for task in lane.list_interrupted()]:
            # Their code may clear up; what refuses to end is left behind.
            await asyncio.wait(interrupted, timeout=CLEAN_UP_SECONDS)

    # -- messages ------------------------------------------------------------------------------------------------

    async def _fetch(self, max_jobs: int | None) -> None:
        limit = self._parts.options.max_lanes
        left = math.inf if max_jobs is None else max_jobs
        while not self._stopping.is_set() and left > 0:
            deliveries = await self._consumer.fetch(int(min(max(1, limit - self._count_busy()), left)))
            left -= len(deliveries)
            for delivery in deliveries:
                self._take(delivery)
            self._balance()
        if not self._stopping.is_set():
            await self.wait_idle()
            if self._background:
                await asyncio.wait(self._background)
            self.stop()

    def _take(self, delivery: Delivery) -> None:
        self._services.count("messages")
        try:
            job = decode_job(delivery.message)
        except MessageError as error:
            self._spawn(partial(self._redelivery.bury_and_settle, delivery, str(error)))
            return
        lane = self._lanes.get(job.run_id)
        if lane is None:
            lane = RunLane(self._services, job.run_id)
            lane.offer(delivery, job)
            self._lanes[job.run_id] = lane
            self._idle.clear()
            self._lane_tasks[lane] = asyncio.ensure_future(self._watch_lane(lane))
        else:
            lane.offer(delivery, job)

    def _balance(self) -> None:
        """Back-pressure: stop taking messages while too many runs are held; membership stays alive."""
        if self._stopping.is_set():
            # Paused for good, however few runs are left.
            return
        limit = self._parts.options.max_lanes
        if not self._paused and self._count_busy() >= limit:
            self._paused = True
            self._consumer.pause()
        elif self._paused and self._count_busy() <= limit // 2:
            self._paused = False
            self._consumer.resume()

    def _count_busy(self) -> int:
        """Lanes that count for the limit: one that rests before it gives its message back keeps nobody waiting."""
        return len(self._lanes) - min(self._resting, RESTING_LANES * self._parts.options.max_lanes)

    def _note_rest(self, change: int) -> None:
        self._resting += change
        self._balance()

    async def _watch_lane(self, lane: RunLane) -> None:
        try:
            await self._watch(f"run {lane.run_id}", partial(self._drive, lane), may_end=True)
        finally:
            self._lane_tasks.pop(lane, None)
            self._forget(lane)
            if not self._lanes:
                self._idle.set()
            self._balance()

    async def _drive(self, lane: RunLane) -> None:
        try:
            await lane.drive()
        except OwnershipLost as lost:
            # Never claim again from here: whoever owns the partition gets a wake and decides.
            logger.info("%s; letting go of it", lost)
            self._services.count("ownership_lost")
            await self._redelivery.hand_back(lane, JobMessage(lane.run_id))
        except (UnknownBlueprint, NodeNotRegistered, RunNotFound) as error:
            await self._redelivery.put_back(lane, error)
        except Exception:
            logger.exception("run %s: trouble in the runtime; it will be taken up again", lane.run_id)
            self._services.count("internal_errors")
            await lane.rest(self._parts.options.retry_max_seconds)
            await self._redelivery.hand_back(lane, JobMessage(lane.run_id, attempts=lane.attempts))

    def _forget(self, lane: RunLane) -> None:
        if self._lanes.get(lane.run_id) is lane:
            del self._lanes[lane.run_id]

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._consumer.settle(deliveries)

    async def _revoke(self, partitions: frozenset[int], seconds: float) -> None:
        """Partitions are taken away: let their running nodes end within the deadline, then forget their runs."""
        self._services.parked.clear()
        # Those that are being let go of, too: what they hold is settled soon.
        leaving = [lane for lane in self._lane_tasks if lane.partitions & partitions]
        for lane in leaving:
            lane.stop()
        tasks = [self._lane_tasks[lane] for lane in leaving]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=seconds)
        finally:
            # Also when nobody waits for this any more: a lane that goes on would take messages and settle none.
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- housekeeping --------------------------------------------------------------------------------------------

    def _list_duties(self) -> list[Duty]:
        options = self._parts.options
        duties = [
            Duty("heartbeat", options.heartbeat_seconds, self._beat),
            Duty("anchors", min(options.heartbeat_seconds, options.anchor_seconds / 2), self._re_anchor),
            Duty("threads", options.heartbeat_seconds, self._look_at_threads),
        ]
        if options.retention_days is not None:
            retention = RetentionService(self._parts.backend, options, self._parts.clock, self.worker_id)
            duties.append(Duty("retention", retention.interval, retention.make_pass))
        return duties

    async def _beat(self) -> None:
        live = [lane for lane in self._lanes.values() if lane.is_live]
        served = {lane.run_id for lane in live}.union(*(lane.ancestors for lane in live))
        await self._heartbeat.beat(served, self._patience)

    async def _re_anchor(self) -> None:
        """A run that is held long gets a fresh message, so that its partition's offset can move on."""
        before = self._parts.clock.monotonic() - self._parts.options.anchor_seconds
        for lane in self._lanes.values():
            if lane.is_live and lane.deliveries and lane.held_since < before:
                self._spawn(partial(self._redelivery.renew, lane))

    async def _look_at_threads(self) -> None:
        self.should_recycle = self._threads.abandoned > self._parts.options.max_abandoned_threads
        if self.should_recycle:
            self.stop()

    def _spawn(self, work: Work) -> None:
        task = asyncio.ensure_future(self._watch("messages", work, may_end=True))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
