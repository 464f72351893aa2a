"""Run requests: a sensor sees what was sent to the request queue, and launches a job that starts those runs.

The sensor hands over ranges of offsets, never payloads. Each run's id is made of topic id, partition and offset, so
that repeated ticks, retried steps and overlapping ranges start nothing twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import dagster as dg

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.orchestration.connection import ANSWER_SECONDS, Connection
from flowcraft_dagster.orchestration.labels import BATCH_TAG, CLIENT_KEY
from flowcraft_dagster.orchestration.request_cursor import Handover, read_request_cursor
from flowcraft_dagster.orchestration.request_losses import find_losses
from flowcraft_dagster.orchestration.requested_runs import JOB_NAME, LEASE_PREFIX, LEASE_SECONDS, OP_NAME
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import RequestRange

MOST_HANDOVERS: Final = 20
"""Launches that have not succeeded yet; with more, new requests wait."""
LAUNCH_SECONDS: Final = 300.0
"""After this, a launch that has not begun is repeated, unless it stands in Dagster's queue."""
PATIENCE_SECONDS: Final = 900.0
"""After this, a launch that has not ended is repeated."""
FIRST_PAUSE_SECONDS: Final = 10.0
"""Before a failed launch is repeated; twice as long each time, up to ``PATIENCE_SECONDS``."""
MOST_ATTEMPTS: Final = 20


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
    Servers that do not answer at once hold up no other sensor: what was asked of them goes on between two ticks.

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
            connection = resource.connect(ANSWER_SECONDS)
            known = _look_at_handovers(context, connection, cursor.open, now)
            if known.unfinished < MOST_HANDOVERS:
                positions = dict(cursor.positions)
                ranges = connection.ask(
                    f"the request queue, asked by {name},",
                    (cursor.topic_id, tuple(positions.items()), max_requests),
                    lambda: connection.backend.requests.find_ranges(positions, cursor.topic_id, max_requests),
                )
        except InfrastructureError as error:
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=context.cursor)
        # Told once that all is well: later, it would hide a loss that nobody has looked at yet.
        is_first = bool(ranges) and cursor.topic_id is None and reason is None
        losses = find_losses(cursor, ranges, [handover.name for handover in known.given_up], JOB_NAME)
        if losses:
            context.log.warning("%s", losses.describe())
        new = tuple(piece for piece in ranges if piece.start < piece.end)
        launched = [*known.repeated, *([Handover(new, 1, now)] if new else [])]
        after = replace(cursor.advance(ranges), open=(*known.going_on, *launched))
        return dg.SensorResult(
            run_requests=[_make_run_request(handover) for handover in launched],
            asset_events=[losses.judge()] if losses or is_first else [],
            skip_reason=None if launched else _say_nothing_new(len(known.going_on)),
            cursor=after.write(),
        )

    return flowcraft_run_request_sensor


@dataclass
class _Handovers:
    """What became of earlier handovers.

    Attributes:
        going_on: their Dagster run goes on, or may yet begin.
        repeated: next attempts for those whose Dagster run did not succeed.
        given_up: their Dagster runs kept failing.
    """

    going_on: list[Handover] = field(default_factory=list)
    repeated: list[Handover] = field(default_factory=list)
    given_up: list[Handover] = field(default_factory=list)

    @property
    def unfinished(self) -> int:
        return len(self.going_on) + len(self.repeated)


def _look_at_handovers(
    context: dg.SensorEvaluationContext, connection: Connection, handovers: Sequence[Handover], now: float
) -> _Handovers:
    known = _Handovers()
    for handover in handovers:
        asked = dg.RunsFilter(tags={BATCH_TAG: handover.tag})
        records = context.instance.get_run_records(asked, limit=1)
        status = records[0].dagster_run.status if records else None
        if status == dg.DagsterRunStatus.SUCCESS:
            continue
        if now - handover.at < _find_patience(connection, handover, status):
            known.going_on.append(handover)
        elif handover.attempt < MOST_ATTEMPTS:
            context.log.warning("the launch for %s did not succeed; launching again", handover.name)
            known.repeated.append(handover.repeat(now))
        else:
            known.given_up.append(handover)
    return known


def _find_patience(connection: Connection, handover: Handover, status: dg.DagsterRunStatus | None) -> float:
    """How long after a handover its launch is repeated. Too early does no harm: nothing is started twice."""
    match status:
        case dg.DagsterRunStatus.FAILURE | dg.DagsterRunStatus.CANCELED:
            return float(min(FIRST_PAUSE_SECONDS * 2 ** (handover.attempt - 1), PATIENCE_SECONDS))
        case dg.DagsterRunStatus.QUEUED:
            # It stands there until Dagster comes to it, however long that takes.
            return math.inf
        case None | dg.DagsterRunStatus.NOT_STARTED | dg.DagsterRunStatus.STARTING:
            return LAUNCH_SECONDS
        case dg.DagsterRunStatus.STARTED if _is_free(connection, handover.tag):
            # Dagster may believe for ever that a killed run goes on; one that does holds its lease.
            return LEASE_SECONDS
        case _:
            return PATIENCE_SECONDS


def _is_free(connection: Connection, tag: str) -> bool:
    name, owner = LEASE_PREFIX + tag, "sensor"
    coordination = connection.backend.coordination
    if not connection.call(coordination.acquire_lease(name, owner, 1.0)):
        return False
    connection.call(coordination.release_lease(name, owner))
    return True


def _say_nothing_new(going_on: int) -> str:
    if going_on >= MOST_HANDOVERS:
        return f"{going_on} launches go on; new requests wait for them"
    return "no new requests" + (f"; {going_on} launches go on" if going_on else "")


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
