"""What others say to a run: answers, cancellations, due timers, child runs that moved.

Only answers and cancellations are rows, since nothing else holds them. A timer's truth is the open activation's
``wakeAt``, a child's truth is the child run: messages about them are hints to look.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.builtins import map_subflow_output
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execute import describe_failure, find_delay
from flowcraft_dagster.engine.facts import ChildMoved, Ended, Fact, NodeFailure, Opened
from flowcraft_dagster.engine.json_codec import decode, encode
from flowcraft_dagster.engine.outcome import Done
from flowcraft_dagster.errors import NodeTimeout, SubflowFailed
from flowcraft_dagster.ports.records import AWAITING, COMPLETED, RunHeader, Signal, StoredRun, Timer
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.deadlines import find_deadline
from flowcraft_dagster.runtime.emission import Emitter
from flowcraft_dagster.runtime.history import rebuild_state
from flowcraft_dagster.runtime.messages import JobMessage
from flowcraft_dagster.runtime.ownership import find_pinned_blueprint
from flowcraft_dagster.runtime.results import ResultWriter
from flowcraft_dagster.runtime.services import LaneServices

ANSWER = "answer/"
CANCEL = "cancel"


class SignalReader:
    """Turns signals to one run into facts.

    Args:
        services: what lanes share.
        run: the run.
        writer: writes the facts.
        emitter: starts and cancels child runs.
    """

    def __init__(self, services: LaneServices, run: OwnedRun, writer: ResultWriter, emitter: Emitter) -> None:
        self._services = services
        self._run = run
        self._writer = writer
        self._emitter = emitter
        self.cancel_requested = False

    async def read_all(self, signals: Sequence[Signal], jobs: Sequence[JobMessage]) -> list[Fact]:
        """Look at everything that may have happened while nobody owned the run."""
        facts = self._read_rows(signals)
        due = {job.timer for job in jobs if job.timer is not None}
        completed = _list_completed(jobs)
        answered = {fact.key for fact in facts if isinstance(fact, Ended)}
        for opened in list(self._run.state.opened.values()):
            if opened.key not in answered:
                facts.extend(await self._look_at(opened, due, completed))
        return facts

    async def read_new(self, jobs: Sequence[JobMessage]) -> list[Fact]:
        """Look at what the messages that arrived just now are about."""
        services, run = self._services, self._run
        facts: list[Fact] = []
        if any(job.is_wake and job.timer is None and job.child is None for job in jobs):
            signals = await services.patience.insist(
                "read signals", lambda: services.backend.state.read_signals(run.run_id)
            )
            return await self.read_all(signals, jobs)
        due = {job.timer for job in jobs if job.timer is not None}
        completed = _list_completed(jobs)
        named = {job.child for job in jobs if job.child is not None} | {
            timer.rpartition("/")[0] for timer in due if timer is not None
        }
        for key in named:
            opened = run.state.opened.get(str(key))
            if opened is not None:
                facts.extend(await self._look_at(opened, due, completed))
        return facts

    def _read_rows(self, signals: Sequence[Signal]) -> list[Fact]:
        facts: list[Fact] = []
        for signal in signals:
            document = decode(signal.data)
            if signal.key == CANCEL:
                self.cancel_requested = True
                self._run.cancel_reason = document.get("reason") or "cancelled"
            elif signal.key.startswith(ANSWER):
                opened = self._run.state.opened.get(signal.key[len(ANSWER) :])
                if opened is not None and opened.kind in ("wait", "webhook"):
                    output = Stored(encode(document["output"])) if "output" in document else None
                    facts.append(self._end(opened, Done(output=output, action=document.get("action"))))
        return facts

    async def _look_at(
        self, opened: Opened, due: Container[str | None], completed: Container[str]
    ) -> list[Fact]:
        is_due = opened.timer_key in due or (
            "wakeAt" in opened.details and opened.details["wakeAt"] <= self._services.clock.now()
        )
        if opened.kind == "sleep" and is_due:
            return [self._end(opened, Done(output=opened.value))]
        if opened.kind == "retry" and is_due:
            activation = self._run.state.reopen(opened.key)
            if activation is not None:
                self._run.to_start.append(activation)
            return []
        if opened.kind == "subflow":
            return await self._look_at_child(opened, opened.key in completed, opened.timer_key in due)
        return []

    async def _look_at_child(self, opened: Opened, is_completed: bool, is_due: bool) -> list[Fact]:
        """See what became of a child run; all of it is read at once if it is said to be completed."""
        child_run_id = opened.details["childRunId"]
        stored = await self._load_child(child_run_id) if is_completed else None
        header = await self._read_child(child_run_id) if stored is None else stored.header
        if header is None or header.epoch == 0:
            # Not there, or there without a commit: the owner that created it may not have come to send its message.
            await self._emitter.start_child(opened)
            if self._run.state.is_cancelling:
                await self._emitter.cancel_child(child_run_id)
        if header is None:
            return []
        late = await self._is_late(opened, header, is_due)
        if header.status == COMPLETED and not late:
            if stored is None:
                stored = await self._load_child(child_run_id)
            return [self._end(opened, await self._collect(opened, stored))]
        if self._run.state.is_cancelling and header.is_final:
            return self._writer.interrupt([opened.key])
        if header.is_final and not late:
            error: Exception = SubflowFailed(
                header.reason or "", node_id=self._node_id(opened), child_run_id=child_run_id, status=header.status
            )
            return [self._fail_attempt(opened, error)]
        if late:
            error = NodeTimeout(node_id=self._node_id(opened), timeout_ms=self._config(opened).timeout)
            await self._emitter.cancel_child(child_run_id, str(error))
            return [self._fail_attempt(opened, error)]
        _, known = self._run.state.children.get(opened.key, (-1, ""))
        if header.status != known and (known or header.status == AWAITING):
            return [ChildMoved(opened.key, opened.attempt, header.status, header.seq)]
        return []

    async def _is_late(self, opened: Opened, child: RunHeader, is_due: bool) -> bool:
        """Whether a sub-flow has ended after its time, or still runs when it is over."""
        services, wake_at = self._services, opened.details.get("wakeAt", float("inf"))
        if child.is_final:
            ended_at = child.finished_at or 0.0
            return ended_at > wake_at and ended_at > await find_deadline(services, opened, child)
        now = services.clock.now()
        if now < wake_at:
            if is_due:
                # Its timer is gone, since the clock of whoever fired it is ahead of this one by what is left: by that
                # clock, the moment is as much later.
                await self._set_timer(opened, wake_at + (wake_at - now))
            return False
        deadline = await find_deadline(services, opened, child)
        if deadline > now:
            await self._set_timer(opened, deadline)
        return deadline <= now

    async def _set_timer(self, opened: Opened, due_at: float) -> None:
        services, timer = self._services, Timer(due_at, self._run.run_id, opened.timer_key)
        await services.patience.insist("add timers", lambda: services.backend.index.add_timers([timer]))

    async def _read_child(self, run_id: str) -> RunHeader | None:
        services = self._services
        return await services.patience.insist("read child", lambda: services.backend.state.read_header(run_id))

    async def _load_child(self, run_id: str) -> StoredRun | None:
        services = self._services
        return await services.patience.insist("load child", lambda: services.backend.state.load_run(run_id))

    async def _collect(self, opened: Opened, stored: StoredRun | None) -> Done:
        if stored is None:
            return Done()
        blueprint = await find_pinned_blueprint(self._services, stored.header)
        snapshot = rebuild_state(stored, blueprint).take_snapshot()
        output, writes = map_subflow_output(self._node(opened), blueprint, snapshot.find, snapshot.find_key)
        return Done(output=output, writes=writes, attempt=opened.attempt)

    def _end(self, opened: Opened, done: Done) -> Fact:
        return self._writer.write(self._activation(opened), done, opened.at)

    def _fail_attempt(self, opened: Opened, error: Exception) -> Fact:
        """A sub-flow's attempt failed: try again with a new child run, or fail for good."""
        config, now = self._config(opened), self._services.clock.now()
        activation = self._activation(opened)
        if opened.attempt < config.max_retries:
            wake_at = now + find_delay(config, opened.attempt)
            details: dict[str, Any] = {"reason": "retry", "wakeAt": wake_at}
            return Opened(opened.key, "retry", opened.attempt + 1, now, details)
        failure: NodeFailure = describe_failure(activation.node_id, opened.key, opened.attempt, error, now)
        return self._writer.fail(activation, failure, opened.at)

    def _activation(self, opened: Opened) -> Activation:
        activation = self._run.state.find_activation(opened.key)
        if activation is None:
            raise KeyError(opened.key)
        return activation

    def _node_id(self, opened: Opened) -> str:
        return self._activation(opened).node_id

    def _node(self, opened: Opened) -> Any:
        return self._run.state.plan.node(self._node_id(opened))

    def _config(self, opened: Opened) -> Any:
        return self._node(opened).config


def _list_completed(jobs: Iterable[JobMessage]) -> set[str]:
    """Activations whose child runs are said to be completed."""
    return {job.child for job in jobs if job.child is not None and job.child_status == COMPLETED}
