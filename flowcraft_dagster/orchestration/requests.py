"""Run requests: a sensor sees what was sent to the request queue, and launches a job that starts those runs.

The sensor hands over ranges of offsets, never payloads. Each run's id is made of topic id, partition and offset, so
that repeated ticks, retried steps and overlapping ranges start nothing twice.
"""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import dagster as dg
import orjson
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.labels import BATCH_TAG, CLIENT_KEY, DAGSTER_RUN_TAG
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.ports.records import RequestRange
from flowcraft_dagster.runtime.requests import start_requests

JOB_NAME: Final = "start_requested_flowcraft_runs"
OP_NAME: Final = "start_requested_flowcraft_runs_op"
REQUESTS_KEY: Final = make_runtime_key("run_requests")
LOST_CHECK: Final = "no_requests_lost"
CURSOR_VERSION: Final = 1
MOST_SHOWN: Final = 100


@dataclass(frozen=True)
class RequestCursor:
    """How far the request queue has been handed over.

    Attributes:
        topic_id: identity of the topic or table; None before anything was seen.
        positions: next offset by partition.
    """

    topic_id: str | None = None
    positions: Mapping[int, int] = field(default_factory=dict)

    def advance(self, ranges: list[RequestRange]) -> "RequestCursor":
        """The cursor after these ranges were handed over."""
        topic_id = ranges[-1].topic_id if ranges else self.topic_id
        known = self.positions if topic_id == self.topic_id else {}
        ends = {piece.partition: piece.end for piece in ranges if piece.topic_id == topic_id}
        return RequestCursor(topic_id, {**known, **ends})

    def write(self) -> str:
        """The cursor as text for Dagster."""
        positions = {str(partition): offset for partition, offset in sorted(self.positions.items())}
        document = {"version": CURSOR_VERSION, "topic_id": self.topic_id, "positions": positions}
        return orjson.dumps(document).decode()


def read_request_cursor(text: str | None) -> tuple[RequestCursor, str | None]:
    """Read what :meth:`RequestCursor.write` wrote.

    Returns:
        The cursor, and None or why it was not usable. Beginning anew starts nothing twice: run ids depend on places.
    """
    if not text:
        return RequestCursor(), None
    try:
        document = orjson.loads(text)
        if document["version"] != CURSOR_VERSION:
            return RequestCursor(), f"it has version {document['version']}, not {CURSOR_VERSION}"
        positions = {int(partition): int(offset) for partition, offset in document["positions"].items()}
        topic_id = document["topic_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return RequestCursor(), "it cannot be read"
    if not isinstance(topic_id, (str, type(None))):
        return RequestCursor(), "it is not one of this sensor"
    return RequestCursor(topic_id, positions), None


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
    """A sensor that turns requests into launches of ``start_requested_flowcraft_runs``, one launch a tick.

    Args:
        name: the sensor's name.
        max_requests: handed over in one tick; the rest follows in the next.
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
        resource: FlowcraftClientResource = getattr(context.resources, CLIENT_KEY)
        try:
            connection = resource.connect()
            ranges = connection.call(
                connection.backend.requests.find_ranges(dict(cursor.positions), cursor.topic_id, max_requests)
            )
        except InfrastructureError as error:
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=context.cursor)
        if not ranges:
            return dg.SensorResult(skip_reason="no new requests", cursor=cursor.write())
        lost = sum(piece.lost for piece in ranges)
        is_new_topic = cursor.topic_id is not None and ranges[0].topic_id != cursor.topic_id
        if lost or is_new_topic:
            context.log.warning("%s", _describe_loss(lost, is_new_topic))
        return dg.SensorResult(
            run_requests=[_make_run_request(ranges)],
            asset_events=[_judge_loss(lost, is_new_topic)],
            cursor=cursor.advance(ranges).write(),
        )

    return flowcraft_run_request_sensor


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
            for piece in config.ranges:
                outcome = connection.call(
                    start_requests(
                        connection.client.asynchronous,
                        RequestRange(piece.topic_id, piece.partition, piece.start, piece.end),
                        time.time(),
                        {DAGSTER_RUN_TAG: context.run.run_id},
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


def _make_run_request(ranges: list[RequestRange]) -> dg.RunRequest:
    pieces = [{key: value for key, value in asdict(piece).items() if key != "lost"} for piece in ranges]
    batch = ",".join(f"{piece.topic_id}:{piece.partition}:{piece.start}-{piece.end}" for piece in ranges)
    return dg.RunRequest(
        # With the topic's id in it: offsets begin anew in a topic that is made anew, and a run key counts for ever.
        run_key=batch,
        run_config={"ops": {OP_NAME: {"config": {"ranges": pieces}}}},
        tags={BATCH_TAG: batch[:200]},
    )


def _judge_loss(lost: int, is_new_topic: bool) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=REQUESTS_KEY,
        check_name=LOST_CHECK,
        passed=not lost and not is_new_topic,
        severity=dg.AssetCheckSeverity.ERROR if lost else dg.AssetCheckSeverity.WARN,
        description=_describe_loss(lost, is_new_topic),
        metadata={"lost": lost},
    )


def _describe_loss(lost: int, is_new_topic: bool) -> str:
    parts = [f"{lost} requests were gone before they were read"] if lost else []
    parts += ["the queue was made anew; its requests are read from the beginning"] if is_new_topic else []
    return "; ".join(parts) or "nothing lost"
