"""A lane: one run while this worker owns it. Jobs of a run start in order; independent nodes run concurrently.

The lane drives the steps of ``runtime.commit``: it starts what was decided, gathers what has ended since, commits all
of it at once, emits what the commit calls for, and settles its messages when nothing of the run runs any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.execute import describe_failure, execute
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.facts import Ended, Fact, Opened, measure_fact
from flowcraft_dagster.engine.outcome import Failed, Outcome
from flowcraft_dagster.errors import NodeNotRegistered
from flowcraft_dagster.ports.records import Delivery
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.emission import Emitter, list_ancestors
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point
from flowcraft_dagster.runtime.messages import JobMessage, decode_job
from flowcraft_dagster.runtime.ownership import Opening, open_run
from flowcraft_dagster.runtime.results import ResultWriter
from flowcraft_dagster.runtime.services import LaneServices
from flowcraft_dagster.runtime.signals import SignalReader
from flowcraft_dagster.runtime.starts import NodeStarter

logger = logging.getLogger(__name__)


class RunLane:
    """One run on this worker.

    Args:
        services: what lanes share.
        run_id: the run.

    Attributes:
        deliveries: messages the run is held by.
        attempts: how often its message was put back.
        held_since: monotonic time since which the oldest message is held.
        ancestors: runs above this one, whose heartbeat this lane keeps up too.
        is_live: whether the run is owned and driven.
        partitions: where its messages came from.
    """

    def __init__(self, services: LaneServices, run_id: str) -> None:
        self.run_id = run_id
        self.deliveries: list[Delivery] = []
        self.attempts = 0
        self.held_since = services.clock.monotonic()
        self.ancestors: tuple[str, ...] = ()
        self.is_live = False
        self._services = services
        self._inbox: list[JobMessage] = []
        self._moved = asyncio.Event()
        self._ended: deque[tuple[Activation, Outcome, float]] = deque()
        self._running: dict[str, tuple[Execution, asyncio.Task[Outcome]]] = {}
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._suspects: frozenset[str] = frozenset()
        self._missing: NodeNotRegistered | None = None
        self._trouble: BaseException | None = None
        self._uncommitted_bytes = 0
        # A run out of memory may be another owner's by now; the first commit tells.
        self._is_proven = True

    @property
    def partitions(self) -> set[int]:
        """Partitions of the messages that are held."""
        return {delivery.partition for delivery in self.deliveries}

    def offer(self, delivery: Delivery, job: JobMessage) -> None:
        """Hand over a message of this run; it is settled when the run needs it no more.

        A job for a run that is being driven says nothing new, since the owner runs whatever was decided; a wake asks
        to look at the run's signals.
        """
        self.deliveries.append(delivery)
        self.attempts = max(self.attempts, job.attempts)
        if job.is_wake or not self.is_live:
            self._inbox.append(job)
            self._moved.set()

    def has_only_timers(self) -> bool:
        """Whether every message is about a timer that is due."""
        return all(decode_job(delivery.message).timer is not None for delivery in self.deliveries)

    def stop(self) -> None:
        """Start nothing more; end once what runs is committed."""
        self._stopping = True
        self._stop_asked.set()
        self._moved.set()

    async def rest(self, seconds: float) -> None:
        """Return after ``seconds``, or once the lane is to stop: what it holds goes to others then."""
        resting = asyncio.ensure_future(self._services.clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stop_asked.wait())
        self._services.note_rest(1)
        try:
            await asyncio.wait({resting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._services.note_rest(-1)
            resting.cancel()
            stopping.cancel()

    def take_deliveries(self) -> list[Delivery]:
        """The messages held so far; they are the caller's to settle now."""
        held, self.deliveries = self.deliveries, []
        self.held_since = self._services.clock.monotonic()
        return held

    def list_interrupted(self) -> list[asyncio.Task[Outcome]]:
        """Nodes that were told to end and have not ended yet."""
        return [task for execution, task in self._running.values() if execution.interruption.is_requested]

    async def drive(self) -> None:
        """Drive the run until nothing of it runs any more, then settle its messages.

        Raises:
            OwnershipLost: another owner has taken it.
            RunNotFound, UnknownBlueprint, NodeNotRegistered: this worker cannot go on with it now.
        """
        try:
            while True:
                # Before the run is read: what arrives while it is read may be about something newer.
                jobs, self._inbox = self._inbox, []
                opening = await self._open(jobs)
                self.is_live = opening.run is not None
                if opening.run is None:
                    self._inbox.clear()
                elif await self._drive_open(opening, opening.run, jobs):
                    return
                elif not self._stopping:
                    self._services.parked.park(opening.run)
                await pass_point(FaultPoint.BEFORE_SETTLE)
                if not self._inbox:
                    self._services.settle(self.take_deliveries())
                    return
        finally:
            self.is_live = False
            self._stop_running()

    async def _open(self, jobs: Sequence[JobMessage]) -> Opening:
        parked = self._services.parked.take(self.run_id)
        # Any other message may tell of something that is known from the store only.
        if parked is not None and jobs and all(job.child is not None for job in jobs):
            return Opening(parked, was_parked=True)
        return await open_run(self._services, self.run_id)

    async def _drive_open(self, opening: Opening, run: OwnedRun, jobs: list[JobMessage]) -> bool:
        """Drive an owned run; True when it was left with work to do, its messages unsettled."""
        services = self._services
        self.ancestors = tuple(list_ancestors(run.header))
        self._suspects = opening.suspects
        self._is_proven = not opening.was_parked
        starter = NodeStarter(services, run, len(self.ancestors))
        writer, emitter = ResultWriter(services, run), Emitter(services, run)
        signals = SignalReader(services, run, writer, emitter)
        if opening.is_fresh:
            services.emit("workflow:start", {"runId": run.run_id, "blueprintId": run.header.blueprint_id})
            facts: list[Fact] = []
        elif opening.was_parked:
            facts = await signals.read_new(jobs)
        else:
            await emitter.emit_again()
            facts = await signals.read_all(opening.signals, jobs)
        while True:
            if signals.cancel_requested and not run.state.is_cancelling:
                facts = [*facts, *await self._interrupt(writer)]
            known = len(run.to_start)
            if facts:
                await emitter.prepare(facts)
                services.committer.decide(run, facts)
            may_delay = self._may_delay(run, facts)
            if may_delay:
                self._start_decided(run, starter)
            else:
                self._start_built_in(run, starter, len(run.to_start) - known)
            if self._ended and self._has_room(run):
                facts = self._gather(run, writer)
                continue
            if run.uncommitted and not (may_delay and (self._running or self._ended)):
                await self._flush(run, emitter)
            if run.is_final:
                return False
            self._start_decided(run, starter)
            if not self._running and not self._ended and not self._inbox:
                await self._flush(run, emitter)
                if self._missing is not None:
                    raise self._missing
                if self._trouble is not None:
                    raise self._trouble
                # A run that is being cancelled starts nothing more: it waits for its children, whose ends wake it.
                return bool(run.state.pending) and not run.state.is_cancelling
            if not self._ended and not self._inbox:
                self._moved.clear()
                await self._moved.wait()
            facts = self._gather(run, writer)
            if self._inbox:
                jobs, self._inbox = self._inbox, []
                facts.extend(await signals.read_new(jobs))

    def _gather(self, run: OwnedRun, writer: ResultWriter) -> list[Fact]:
        """What has ended since, as much of it as goes into one commit."""
        facts: list[Fact] = []
        size, limit = 0, 2 * self._services.options.max_output_bytes
        while self._ended and size < limit:
            activation, outcome, started_at = self._ended.popleft()
            if activation.key not in run.state.pending:
                # Interrupted by a cancellation, which is a fact by now; its code has taken its time to end.
                continue
            fact = writer.write(activation, outcome, started_at)
            size += measure_fact(fact)
            facts.append(fact)
        self._uncommitted_bytes += size
        return facts

    def _has_room(self, run: OwnedRun) -> bool:
        """Whether more may go into the commit that is being gathered."""
        options = self._services.options
        return (
            not self._stopping
            and len(run.uncommitted) < options.segment_nodes
            and self._uncommitted_bytes < 2 * options.max_output_bytes
        )

    def _may_delay(self, run: OwnedRun, facts: list[Fact]) -> bool:
        """Whether successors may start before this commit is written: only with ``segment`` durability."""
        options = self._services.options
        return (
            options.durability == "segment"
            and self._is_proven
            and bool(run.state.pending)
            and self._has_room(run)
            and not any(isinstance(fact, Opened) for fact in facts)
        )

    async def _flush(self, run: OwnedRun, emitter: Emitter) -> None:
        before = run.header
        committed = [fact for facts in run.uncommitted for fact in facts]
        await self._services.committer.flush(run)
        self._uncommitted_bytes = 0
        if run.header is not before:
            self._is_proven = True
            self._services.count("commits")
            await emitter.emit(before, committed)

    def _start_built_in(self, run: OwnedRun, starter: NodeStarter, fresh: int) -> None:
        """Start those of the last ``fresh`` decided activations that run no user code; the others keep their order.

        What they make of a commit goes into the same one: a chain of loop controllers, waits and sub-flows costs no
        commit of its own, and no user code starts before the commit is durable.
        """
        if not self._may_start(run):
            return
        decided = [run.to_start.pop() for _ in range(fresh)]
        for activation in reversed(decided):
            if self._missing is None and starter.is_built_in(activation):
                self._start(run, starter, activation)
            else:
                run.to_start.append(activation)

    def _start_decided(self, run: OwnedRun, starter: NodeStarter) -> None:
        """Start activations in the order they were decided, as far as there is room."""
        most = self._services.options.run_concurrency
        while run.to_start and len(self._running) < most and self._may_start(run):
            self._start(run, starter, run.to_start.popleft())

    def _may_start(self, run: OwnedRun) -> bool:
        return not self._stopping and self._missing is None and not run.state.is_cancelling

    def _start(self, run: OwnedRun, starter: NodeStarter, activation: Activation) -> None:
        if activation.key not in run.state.pending:
            return
        now = self._services.clock.now()
        try:
            started = starter.start(activation)
        except NodeNotRegistered as missing:
            # Not the run's fault: let what runs end, then leave the run to a worker that has the node kind.
            self._missing = missing
            return
        if isinstance(started, Execution):
            version = run.state.version
            run.state.context.pin(version)
            task = asyncio.get_running_loop().create_task(self._execute(started))
            self._running[activation.key] = started, task
            task.add_done_callback(partial(self._note_end, run, version, started, now))
        else:
            self._ended.append((activation, started, now))

    async def _execute(self, execution: Execution) -> Outcome:
        services = self._services
        if execution.activation.key in self._suspects and services.isolate is not None:
            # Runs elsewhere, in places of its own: the slots stay for others.
            await pass_point(FaultPoint.BEFORE_EXECUTE)
            outcome = await services.isolate(execution)
        else:
            async with services.slots:
                await pass_point(FaultPoint.BEFORE_EXECUTE)
                outcome = await execute(execution, services.workshop)
        services.count("nodes")
        await pass_point(FaultPoint.AFTER_EXECUTE)
        return outcome

    def _note_end(
        self, run: OwnedRun, version: int, execution: Execution, started_at: float, task: asyncio.Task[Outcome]
    ) -> None:
        activation = execution.activation
        run.state.context.unpin(version)
        self._running.pop(activation.key, None)
        if task.cancelled():
            if execution.interruption.is_requested:
                return
            # Its own code cancelled the task it ran in: an end like any other, or the run would wait for it for ever.
            itself, now = asyncio.CancelledError("the node cancelled itself"), self._services.clock.now()
            failure = describe_failure(activation.node_id, activation.key, execution.first_attempt, itself, now)
            self._ended.append((activation, Failed(failure), started_at))
            self._moved.set()
            return
        error = task.exception()
        if error is None:
            self._ended.append((activation, task.result(), started_at))
        else:
            # A node's own errors are outcomes: this is the runtime's trouble, and no reason to fail the run.
            self._trouble = error
            self._stopping = True
        self._moved.set()

    def _stop_running(self) -> dict[str, tuple[Execution, asyncio.Task[Outcome]]]:
        running = dict(self._running)
        for execution, task in running.values():
            execution.interruption.stop(task)
        return running

    async def _interrupt(self, writer: ResultWriter) -> list[Fact]:
        """Stop what runs because the run is being cancelled."""
        running = self._stop_running()
        if running:
            tasks = [task for _, task in running.values()]
            await asyncio.wait(tasks, timeout=self._services.options.drain_seconds)
        late = [writer.write(*self._ended.popleft()) for _ in range(len(self._ended))]
        ended = {fact.key for fact in late if isinstance(fact, Ended)}
        return [*late, *writer.interrupt(key for key in running if key not in ended), writer.begin_cancelling()]
