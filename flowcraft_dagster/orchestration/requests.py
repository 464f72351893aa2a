"""Run requests: a sensor sees what was sent to the request queue, and launches a job that starts those runs.

The sensor hands over ranges of offsets, never payloads. Each run's id is made of topic id, partition and offset, so
that repeated ticks, retried steps and overlapping ranges start nothing twice.
"""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.labels import BATCH_TAG, CLIENT_KEY, DAGSTER_RUN_TAG
from flowcraft_dagster.orchestration.request_cursor import Handover, read_request_cursor
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.ports.records import RequestRange
from flowcraft_dagster.runtime.requests import start_requests

JOB_NAME: Final = "start_requested_flowcraft_runs"
OP_NAME: Final = "start_requested_flowcraft_runs_op"
REQUESTS_KEY: Final = make_runtime_key("run_requests")
LOST_CHECK: Final = "no_requests_lost"
MOST_SHOWN: Final = 100
MOST_HANDOVERS: Final = 20
"""Launches that have not succeeded yet; with more, new requests wait."""
PATIENCE_SECONDS: Final = 900.0
"""After this, a launch that has not ended is repeated."""
LEASE_PREFIX: Final = "requests/"
LEASE_SECONDS: Final = 60.0
"""For a hundred requests; a launch without a lease is dead."""
FIRST_PAUSE_SECONDS: Final = 10.0
"""Before a failed launch is repeated; twice as long each time, up to ``PATIENCE_SECONDS``."""
MOST_ATTEMPTS: Final = 20


class RequestRangeConfig(dg.Config):
    """A contiguous piece of the request queue."""

    topic_id: str = Field(description="Identity of the topic or table.")
    partition: int = Field(description="Partition; 0 on the embedded backend.")
    start: int = Field(description="First offset.")
    end: int = Field(description="Offset after the last one.")


class StartRequestedConfig(dg.Config):
    """Which requests to start."""

    ranges: list[RequestRangeConfig] = Field(description="Pieces of the request queue.")


def build_flowcraft_run_request_sensor(
    *,
    name: str = "flowcraft_run_request_sensor",
    max_requests: int = 2000,
    minimum_interval_seconds: int = 15,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
) -> dg.SensorDefinition:
    """A sensor that turns requests into launches of ``start_requested_flowcraft_runs``.

    A tick makes one launch for what is new, and another one for each earlier launch whose Dagster run failed, was
    cancelled or is not heard of any more. So no request is lost when Dagster is killed, and none is started twice.

    Args:
        name: the sensor's name.
        max_requests: handed over in one launch; the rest follows in the next tick.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs without a click.
    """

    @dg.sensor(
        name=name,
        job_name=JOB_NAME,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={CLIENT_KEY},
        description="Hands over requests to start workflow runs.",
    )
    def flowcraft_run_request_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, reason = read_request_cursor(context.cursor)
        if reason is not None:
            context.log.warning("the cursor is not used, since %s; all requests are looked at anew", reason)
        now = time.time()
        resource: FlowcraftClientResource = getattr(context.resources, CLIENT_KEY)
        ranges: list[RequestRange] = []
        try:
            connection = resource.connect()
            going_on, repeated, given_up = _look_at_handovers(context, connection, cursor.open, now)
            if len(going_on) + len(repeated) < MOST_HANDOVERS:
                positions = dict(cursor.positions)
                ranges = connection.call(
                    connection.backend.requests.find_ranges(positions, cursor.topic_id, max_requests)
                )
        except InfrastructureError as error:
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=context.cursor)
        lost = sum(piece.lost for piece in ranges)
        is_new_topic = bool(ranges) and cursor.topic_id is not None and ranges[0].topic_id != cursor.topic_id
        loss = _Loss(lost, is_new_topic, tuple(handover.name for handover in given_up))
        if loss:
            context.log.warning("%s", loss.describe())
        launched = [*repeated, *([Handover(tuple(ranges), 1, now)] if ranges else [])]
        after = replace(cursor.advance(ranges), open=(*going_on, *launched))
        return dg.SensorResult(
            run_requests=[_make_run_request(handover) for handover in launched],
            asset_events=[loss.judge()] if ranges or loss else [],
            skip_reason=None if launched else _say_nothing_new(len(going_on)),
            cursor=after.write(),
        )

    return flowcraft_run_request_sensor


def _look_at_handovers(
    context: dg.SensorEvaluationContext, connection: Connection, handovers: Sequence[Handover], now: float
) -> tuple[list[Handover], list[Handover], list[Handover]]:
    """Handovers that go on, next attempts for those whose Dagster run did not succeed, and those given up."""
    going_on, repeated, given_up = [], [], []
    for handover in handovers:
        asked = dg.RunsFilter(tags={BATCH_TAG: handover.tag})
        records = context.instance.get_run_records(asked, limit=1)
        status = records[0].dagster_run.status if records else None
        if status == dg.DagsterRunStatus.SUCCESS:
            continue
        if now - handover.at < _find_patience(connection, handover, status):
            going_on.append(handover)
        elif handover.attempt < MOST_ATTEMPTS:
            context.log.warning("the launch for %s did not succeed; launching again", handover.name)
            repeated.append(handover.repeat(now))
        else:
            given_up.append(handover)
    return going_on, repeated, given_up


def _find_patience(connection: Connection, handover: Handover, status: dg.DagsterRunStatus | None) -> float:
    """How long after a handover its launch is repeated. Too early does no harm: nothing is started twice."""
    if status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        return float(min(FIRST_PAUSE_SECONDS * 2 ** (handover.attempt - 1), PATIENCE_SECONDS))
    # Dagster may believe for ever that a killed run goes on; one that does holds its lease.
    if status == dg.DagsterRunStatus.STARTED and _is_free(connection, handover.tag):
        return LEASE_SECONDS
    return PATIENCE_SECONDS


def _is_free(connection: Connection, tag: str) -> bool:
    name, owner = LEASE_PREFIX + tag, "sensor"
    coordination = connection.backend.coordination
    if not connection.call(coordination.acquire_lease(name, owner, 1.0)):
        return False
    connection.call(coordination.release_lease(name, owner))
    return True


def _say_nothing_new(going_on: int) -> str:
    return "no new requests" + (f"; {going_on} launches go on" if going_on else "")


def build_requested_runs_job() -> dg.JobDefinition:
    """The job that starts the runs of handed-over requests."""

    @dg.op(name=OP_NAME, out=dg.Out(list, description="Ids of the workflow runs."))
    def start_requested_runs(
        context: OpExecutionContext, config: StartRequestedConfig, flowcraft: FlowcraftClientResource
    ) -> list[str]:
        """Starts the runs of requests; those that cannot be started become dead letters."""
        run_ids: list[str] = []
        reasons: dict[str, str] = {}
        with retried(context):
            connection = flowcraft.connect()
            lease = LEASE_PREFIX + context.run.tags.get(BATCH_TAG, context.run.run_id)
            coordination = connection.backend.coordination
            for piece in config.ranges:
                outcome = connection.call(
                    start_requests(
                        connection.client.asynchronous,
                        RequestRange(piece.topic_id, piece.partition, piece.start, piece.end),
                        time.time(),
                        {DAGSTER_RUN_TAG: context.run.run_id},
                        lambda: coordination.acquire_lease(lease, context.run.run_id, LEASE_SECONDS),
                    )
                )
                run_ids += outcome.run_ids
                reasons |= outcome.reasons
        for letter_id, reason in list(reasons.items())[:MOST_SHOWN]:
            context.log.warning("%s became a dead letter: %s", letter_id, reason)
        metadata: dict[str, Any] = {
            "requests": len(run_ids) + len(reasons),
            "started": len(run_ids),
            "dead_letters": len(reasons),
            "run_ids": run_ids[:MOST_SHOWN],
        }
        context.add_output_metadata(metadata)
        context.log_event(dg.AssetMaterialization(asset_key=REQUESTS_KEY, metadata=metadata))
        return run_ids

    @dg.job(
        name=JOB_NAME,
        description="Starts the workflow runs of requests; launched by the run-request sensor.",
        executor_def=dg.in_process_executor,
    )
    def start_requested_flowcraft_runs() -> None:
        start_requested_runs()

    return start_requested_flowcraft_runs


def build_request_spec() -> dg.AssetSpec:
    """The asset that shows how many requests were started."""
    return dg.AssetSpec(
        key=REQUESTS_KEY,
        description="Requests to start runs, as they were handed over.",
        group_name=RUNTIME_GROUP,
        kinds={"flowcraft"},
    )


def build_request_check() -> dg.AssetChecksDefinition:
    """The check that tells of requests that were gone before they were read; the sensor evaluates it."""

    @dg.asset_check(
        name=LOST_CHECK,
        asset=REQUESTS_KEY,
        description="No request was gone before it was read. Executing it acknowledges a reported loss.",
    )
    def no_requests_lost() -> dg.AssetCheckResult:
        # Only the sensor knows how far it was. A person who executes this has seen the loss.
        return dg.AssetCheckResult(passed=True, description="acknowledged by hand")

    return no_requests_lost


def _make_run_request(handover: Handover) -> dg.RunRequest:
    pieces = [
        {"topic_id": piece.topic_id, "partition": piece.partition, "start": piece.start, "end": piece.end}
        for piece in handover.ranges
    ]
    return dg.RunRequest(
        run_key=handover.name,
        run_config={"ops": {OP_NAME: {"config": {"ranges": pieces}}}},
        tags={BATCH_TAG: handover.tag},
    )


@dataclass(frozen=True)
class _Loss:
    """What became of requests that it should not have.

    Attributes:
        lost: requests that were gone before they were read.
        is_new_topic: whether the queue was made anew.
        given_up: handovers whose launches kept failing.
    """

    lost: int
    is_new_topic: bool
    given_up: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.is_new_topic or self.given_up)

    def judge(self) -> dg.AssetCheckEvaluation:
        is_error = bool(self.lost or self.given_up)
        return dg.AssetCheckEvaluation(
            asset_key=REQUESTS_KEY,
            check_name=LOST_CHECK,
            passed=not self,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            description=self.describe(),
            metadata={"lost": self.lost, "given_up": len(self.given_up)},
        )

    def describe(self) -> str:
        parts = [f"{self.lost} requests were gone before they were read"] if self.lost else []
        parts += ["the queue was made anew; its requests are read from the beginning"] if self.is_new_topic else []
        parts += [f"launches for {name} failed; start them with the job {JOB_NAME}" for name in self.given_up]
        return "; ".join(parts) or "nothing lost"
