"""The client's side: start runs, wait for them, answer, cancel, list. Never writes a fact of a run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.blueprint.parse import parse_blueprint
from flowcraft_dagster.engine.json_codec import check_depth, decode, encode
from flowcraft_dagster.engine.plan import find_starts
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import (
    AlreadyAnswered,
    InfrastructureError,
    NotRetryable,
    RunFinished,
    RunNotFound,
    SettingsError,
    SizeLimitExceeded,
    UnknownBlueprint,
    WaitTimeout,
    suggest,
)
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.records import CANCELLED, FAILED, RUNNING, Message, RunHeader, RunQuery, Signal, StoredRun
from flowcraft_dagster.runtime.faults import FaultPoint, pass_point
from flowcraft_dagster.runtime.messages import JobMessage, encode_job
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.result import OpenWait, RunResult, build_result
from flowcraft_dagster.runtime.start_request import StartRequest as StartRequest
from flowcraft_dagster.runtime.start_request import encode_request
from flowcraft_dagster.runtime.submission import (
    check_same_start,
    check_tags,
    choose_run_id,
    encode_context,
    hash_input,
    make_header,
    save_blueprint_once,
)
from flowcraft_dagster.runtime.waits import WaitFinder

FIRST_POLL_SECONDS = 0.005
LONGEST_POLL_SECONDS = 0.25


class AsyncClient:
    """Starts and follows runs.

    Args:
        backend: opened ports.
        blueprints: known here, by id; runs are pinned to what is found here at their start.
        options: limits.
        clock: time.
        dice: randomness.
    """

    def __init__(
        self,
        backend: Backend,
        blueprints: Mapping[str, Blueprint],
        options: RuntimeOptions,
        clock: Clock,
        dice: random.Random,
    ) -> None:
        self.backend = backend
        self.blueprints = blueprints
        self._options = options
        self._clock = clock
        self._dice = dice

    # -- starting ------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> str:
        """Start a run; after this returns it is not lost, whatever crashes.

        Returns:
            The run's id. A known id with the same blueprint and context is that run, started once.

        Raises:
            UnknownBlueprint: there is no such blueprint here.
            RunConflict: the id is taken by another blueprint or context.
            SerializationError, SizeLimitExceeded: the context cannot be stored.
            SettingsError: the run id is none, or a tag is no text.
            InfrastructureError: a server is away; the same call with the same run id may be repeated.
        """
        return (await self.start_many([request]))[0]

    async def start_many(self, requests: Sequence[StartRequest]) -> list[str]:
        """Start several runs; the messages are sent together.

        Raises as :meth:`start`; malformed requests are found before anything is stored.
        """
        prepared = [self._prepare(request) for request in requests]
        for blueprint in {header.blueprint_hash: blueprint for blueprint, header, _ in prepared}.values():
            await save_blueprint_once(self.backend.state, blueprint)
        # Together, so that the store may write many in one go.
        jobs = await asyncio.gather(*(self._create(*parts) for parts in prepared))
        await self.backend.jobs.send([job for job in jobs if job is not None])
        return [header.run_id for _, header, _ in prepared]

    async def request_many(self, requests: Sequence[StartRequest]) -> list[str]:
        """Ask for runs by the request queue: Dagster starts them, seconds later.

        Nothing needs to know the blueprints here. Each request is sent with a run id, made up where it has none, so
        that its run can be looked for; the same id sent twice is one run.

        Args:
            requests: without tags, which requests do not carry.

        Returns:
            The run ids. There is no such run before Dagster has started it.

        Raises:
            SerializationError, SizeLimitExceeded: a context is no JSON or over its limit, and nothing was sent; or one
                is over the limit of the queue.
            SettingsError: a run id or blueprint id is none, or there are tags; nothing was sent.
            QueueUnavailable: some may not have been sent; the same requests with the same run ids may be repeated.
        """
        values: list[bytes] = []
        run_ids: list[str] = []
        for request in requests:
            if request.tags:
                raise SettingsError("are not carried by requests; start the run to give it some", name="tags")
            if not isinstance(request.blueprint_id, str) or not request.blueprint_id:
                raise SettingsError("is not text", name="blueprint_id", advice="Name the blueprint.")
            encode_context(request, self._options.max_context_bytes)
            run_ids.append(choose_run_id(request, self._dice))
            values.append(encode_request(replace(request, run_id=run_ids[-1])))
        await self.backend.requests.send_requests(values)
        return run_ids

    async def _create(self, blueprint: Blueprint, header: RunHeader, context: bytes) -> Message | None:
        existing = await self.backend.state.create_run(header, context)
        await pass_point(FaultPoint.AFTER_START_CREATED)
        if existing is not None:
            check_same_start(existing, header)
            if existing.is_final:
                return None
        starts = find_starts(blueprint)
        return encode_job(JobMessage(header.run_id, header.blueprint_id, starts[0] if starts else None))

    async def retry(self, run_id: str, new_run_id: str | None = None) -> str:
        """Start a new run that keeps what a failed or cancelled run committed and goes on from what failed.

        Args:
            run_id: the ended run; it never changes.
            new_run_id: id of the new run; derived from the old one when None, so that a repeated call starts one run.

        Returns:
            The new run's id.

        Raises:
            RunNotFound: there is no such run.
            NotRetryable: it has not ended, has completed, or is a child run.
        """
        stored, blueprint = await self._load(run_id)
        header = stored.header
        if header.status not in (FAILED, CANCELLED):
            raise NotRetryable(f"it is {header.status}", run_id=run_id)
        if header.parent is not None:
            raise NotRetryable(f"it is a child of run '{header.parent.run_id}'", run_id=run_id)
        now = self._clock.now()
        retry = replace(
            header,
            run_id=new_run_id or f"{run_id[:180]}-retry-{hash_input(run_id.encode('utf-8', 'surrogatepass'))[:8]}",
            status=RUNNING,
            epoch=0,
            owner=None,
            seq=0,
            started_at=now,
            updated_at=now,
            finished_at=None,
            reason=None,
            retry_of=run_id,
        )
        await save_blueprint_once(self.backend.state, blueprint)
        job = await self._create(blueprint, retry, stored.context)
        if job is not None:
            await self.backend.jobs.send([job])
        return retry.run_id

    def _prepare(self, request: StartRequest) -> tuple[Blueprint, RunHeader, bytes]:
        blueprint = self.blueprints.get(request.blueprint_id)
        if blueprint is None:
            known = ", ".join(sorted(self.blueprints)) or "none"
            near = suggest(str(request.blueprint_id), self.blueprints)
            raise UnknownBlueprint(blueprint_id=request.blueprint_id, known=known, near=near)
        context = encode_context(request, self._options.max_context_bytes)
        run_id = choose_run_id(request, self._dice)
        check_tags(request)
        header = make_header(
            run_id, blueprint.id, blueprint.content_hash, context, self._clock.now(), request.tags
        )
        return blueprint, header, context

    # -- following -----------------------------------------------------------------------------------------------

    async def status(self, run_id: str) -> RunHeader:
        """The run's header. Raises RunNotFound."""
        header = await self.backend.state.read_header(run_id)
        if header is None:
            raise RunNotFound(run_id=run_id)
        return header

    async def result(self, run_id: str) -> RunResult:
        """Everything about a run, ended or not. Raises RunNotFound."""
        stored, blueprint = await self._load(run_id)
        return build_result(stored, blueprint)

    async def wait(self, run_id: str, timeout: float = 60.0) -> RunResult:
        """Wait until a run has ended.

        Errors while looking are outlived; the last one is the cause of the WaitTimeout.

        Args:
            run_id: the run.
            timeout: seconds.

        Raises:
            WaitTimeout: the run goes on; carries its present status.
            RunNotFound: there is no such run.
        """
        await self._wait_until(run_id, timeout, lambda header: header.is_final)
        return await self.result(run_id)

    async def wait_for_pause(self, run_id: str, timeout: float = 60.0) -> RunHeader:
        """Wait until a run has ended or waits. Raises as :meth:`wait`."""
        return await self._wait_until(run_id, timeout, lambda header: header.is_final or header.status == "awaiting")

    async def _wait_until(self, run_id: str, timeout: float, is_there: Any) -> RunHeader:
        deadline = self._clock.monotonic() + timeout
        pause, status, trouble = FIRST_POLL_SECONDS, "unknown", None
        while True:
            try:
                header = await self.status(run_id)
                status, trouble = header.status, None
                if is_there(header):
                    return header
            except InfrastructureError as error:
                trouble = error
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise WaitTimeout(run_id=run_id, status=status, timeout_seconds=timeout) from trouble
            await self.backend.coordination.await_run(run_id, min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    async def runs(self, query: RunQuery) -> tuple[RunHeader, ...]:
        """Runs that match, the latest first."""
        return await self.backend.index.list_runs(query)

    # -- saying something to a run -------------------------------------------------------------------------------

    async def cancel(self, run_id: str, reason: str = "cancelled by request") -> RunHeader:
        """Ask a run to end; its child runs end too. Asking again is no harm: the first reason stands.

        Returns:
            The run as it was found: ``cancelled`` when there is nothing left to do.

        Raises:
            RunNotFound: there is no such run.
            RunFinished: it has completed or failed, and never changes again.
        """
        header = await self.status(run_id)
        if header.status == CANCELLED:
            return header
        if header.is_final:
            raise RunFinished(run_id=run_id, status=header.status)
        document = {"reason": reason, "at": self._clock.now()}
        await self.backend.state.add_signal(run_id, Signal("cancel", encode(document)))
        await self._wake(run_id)
        return header

    async def resume(
        self,
        run_id: str,
        node: str,
        *,
        output: Any = UNDEFINED,
        action: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Answer a ``wait`` or ``webhook``.

        Args:
            run_id: the run, or a child run.
            node: a node id, an activation key, or ``parentNode/childNode`` for a wait inside a sub-flow.
            output: becomes the node's output.
            action: chooses the edges that are followed.
            request_id: names this answer; the same request twice is one answer.

        Returns:
            The key of the activation that was answered.

        Raises:
            RunNotFound, RunFinished, NotWaiting, AmbiguousWait, AlreadyAnswered: nothing was changed.
        """
        document: dict[str, Any] = {
            "requestId": request_id or f"{self._dice.getrandbits(128):032x}",
            "at": self._clock.now(),
        }
        if output is not UNDEFINED:
            document["output"] = output
        if action is not None:
            document["action"] = action
        data = encode(document, "answer")
        check_depth(data, "answer")
        if len(data) > self._options.max_output_bytes:
            raise SizeLimitExceeded(what="answer", size=len(data), limit=self._options.max_output_bytes)
        target_run, activation = await self._waits.find(run_id, node, document["requestId"])
        existing = await self.backend.state.add_signal(target_run, Signal(f"answer/{activation}", data))
        await pass_point(FaultPoint.AFTER_SIGNAL)
        if existing is not None and decode(existing.data).get("requestId") != document["requestId"]:
            raise AlreadyAnswered(run_id=target_run, activation=activation)
        await self._wake(target_run)
        return activation

    async def waiting(self, run_id: str) -> list[OpenWait]:
        """What a run and its child runs wait for. Raises RunNotFound."""
        return [wait for wait in await self._waits.list_waits(run_id) if wait.kind != "subflow"]

    @property
    def _waits(self) -> WaitFinder:
        return WaitFinder(self.backend.state, self._load)

    async def _load(self, run_id: str) -> tuple[StoredRun, Blueprint]:
        stored = await self.backend.state.load_run(run_id)
        if stored is None:
            raise RunNotFound(run_id=run_id)
        return stored, await self.find_blueprint(stored.header)

    async def find_blueprint(self, header: RunHeader) -> Blueprint:
        """The blueprint a run is pinned to. Raises UnknownBlueprint."""
        known = self.blueprints.get(header.blueprint_id)
        if known is not None and known.content_hash == header.blueprint_hash:
            return known
        document = await self.backend.state.read_blueprint(header.blueprint_hash)
        if document is None:
            raise UnknownBlueprint(blueprint_id=header.blueprint_id)
        return parse_blueprint(decode(document))

    async def _wake(self, run_id: str) -> None:
        await self.backend.jobs.send([encode_job(JobMessage(run_id))])
