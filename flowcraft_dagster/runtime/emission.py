"""Step 5 of the commit protocol: what others must learn of a commit. Every part may be repeated without harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowcraft_dagster.engine.facts import Fact, Opened
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.errors import UnknownBlueprint
from flowcraft_dagster.ports.records import AWAITING, FINAL_STATUSES, RUNNING, ParentLink, RunHeader, Signal, Timer
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point
from flowcraft_dagster.runtime.messages import JobMessage, encode_job
from flowcraft_dagster.runtime.services import LaneServices
from flowcraft_dagster.runtime.submission import make_header, save_blueprint_once

ANCESTORS_TAG = "flowcraft.ancestors"
LIMITED_TAG = "flowcraft.limited"
"""On child runs that a time-out of a sub-flow above them limits."""


def list_ancestors(header: RunHeader) -> list[str]:
    """Ids of the runs above a child run, outermost first."""
    return [name for name in header.tags.get(ANCESTORS_TAG, "").split(",") if name]


class Emitter:
    """Emits for one run.

    Args:
        services: what lanes share.
        run: the run.
    """

    def __init__(self, services: LaneServices, run: OwnedRun) -> None:
        self._services = services
        self._run = run

    async def prepare(self, facts: Sequence[Fact]) -> None:
        """Store the timers of facts that are about to be committed: never an open activation without its timer."""
        timers = [
            Timer(fact.details["wakeAt"], self._run.run_id, fact.timer_key)
            for fact in facts
            if isinstance(fact, Opened) and "wakeAt" in fact.details
        ]
        if timers:
            await pass_point(FaultPoint.BEFORE_TIMERS)
            services = self._services
            await services.patience.insist("add timers", lambda: services.backend.index.add_timers(timers))

    async def emit(self, before: RunHeader, facts: Sequence[Fact]) -> None:
        """Emit for one commit.

        Args:
            before: the header before the commit.
            facts: what it carried.
        """
        for fact in facts:
            if isinstance(fact, Opened) and fact.kind == "subflow":
                await self.start_child(fact)
        header = self._run.header
        if header.status == before.status:
            return
        if self._run.state.is_cancelling:
            await self._cancel_children()
        if header.status in FINAL_STATUSES:
            self._services.emit("workflow:finish", self._describe({"status": header.status, "reason": header.reason}))
            await publish_final(self._services, header)
            return
        if header.status == AWAITING:
            self._services.emit("workflow:pause", self._describe({}))
        elif before.status == AWAITING:
            self._services.emit("workflow:resume", self._describe({}))
        await _notify_parent(self._services, header)
        await _publish(self._services, header)

    async def emit_again(self) -> None:
        """Emit what an earlier owner may not have come to."""
        if self._run.state.is_cancelling:
            await self._cancel_children()
        if self._run.header.status in (AWAITING, RUNNING):
            await _notify_parent(self._services, self._run.header)
            await _publish(self._services, self._run.header)

    async def start_child(self, opened: Opened) -> None:
        """Start a sub-flow's run. Its id is derived, so that a repeated start is none."""
        services, header = self._services, self._run.header
        await pass_point(FaultPoint.BEFORE_CHILD)
        details = opened.details
        blueprint = services.blueprints.get(details["blueprintId"])
        if blueprint is None or blueprint.content_hash != details["blueprintHash"]:
            stored = await services.patience.insist(
                "read blueprint", lambda: services.backend.state.read_blueprint(details["blueprintHash"])
            )
            if stored is None:
                raise UnknownBlueprint(blueprint_id=details["blueprintId"])
        else:
            await services.patience.insist(
                "save blueprint", lambda: save_blueprint_once(services.backend.state, blueprint)
            )
        context = b"{}" if opened.value is None else opened.value.data
        tags = {ANCESTORS_TAG: ",".join([*list_ancestors(header), header.run_id])}
        if "wakeAt" in details or LIMITED_TAG in header.tags:
            tags[LIMITED_TAG] = "true"
        child = make_header(
            details["childRunId"],
            details["blueprintId"],
            details["blueprintHash"],
            context,
            services.clock.now(),
            tags,
            ParentLink(header.run_id, opened.key, opened.attempt),
        )
        await services.patience.insist("start child", lambda: services.backend.state.create_run(child, context))
        await pass_point(FaultPoint.AFTER_CHILD_CREATED)
        job = encode_job(JobMessage(child.run_id, child.blueprint_id))
        await services.patience.insist("send child", lambda: services.backend.jobs.send([job]), "queue")

    async def cancel_child(self, child_run_id: str, reason: str | None = None) -> None:
        """Ask a sub-flow's run to end.

        Args:
            child_run_id: the run.
            reason: why; that for which this run is cancelled when None.
        """
        services = self._services
        if reason is None:
            reason = self._run.cancel_reason or f"run {self._run.run_id} was cancelled"
        signal = Signal("cancel", encode({"reason": reason, "at": services.clock.now()}))
        header = await services.patience.insist(
            "read child", lambda: services.backend.state.read_header(child_run_id)
        )
        if header is None or header.is_final:
            return
        await services.patience.insist(
            "cancel child", lambda: services.backend.state.add_signal(child_run_id, signal)
        )
        wake = encode_job(JobMessage(child_run_id))
        await services.patience.insist("wake child", lambda: services.backend.jobs.send([wake]), "queue")

    async def _cancel_children(self) -> None:
        for opened in list(self._run.state.opened.values()):
            if opened.kind == "subflow":
                await self.cancel_child(opened.details["childRunId"])

    def _describe(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        return {"runId": self._run.run_id, "blueprintId": self._run.header.blueprint_id, **payload}


async def publish_final(services: LaneServices, header: RunHeader) -> None:
    """Tell the parent, the projection and waiting clients that a run has ended."""
    await pass_point(FaultPoint.BEFORE_NOTIFY)
    await _notify_parent(services, header)
    await pass_point(FaultPoint.BEFORE_PUBLISH)
    await _publish(services, header)


async def _notify_parent(services: LaneServices, header: RunHeader) -> None:
    if header.parent is not None:
        wake = encode_job(
            JobMessage(header.parent.run_id, child=header.parent.activation, child_status=header.status)
        )
        await services.patience.insist("wake parent", lambda: services.backend.jobs.send([wake]), "queue")


async def _publish(services: LaneServices, header: RunHeader) -> None:
    await services.patience.insist("publish", lambda: services.backend.index.publish(header))
    await services.backend.coordination.announce_runs([header.run_id])
