"""The job that starts the workflow runs of requests. It is told places in the request queue, and reads them itself."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from typing import Any, Final

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.labels import BATCH_TAG, DAGSTER_RUN_TAG, KEEP_TAG
from flowcraft_dagster.orchestration.request_losses import REQUESTS_KEY, sum_up_losses
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import RequestRange
from flowcraft_dagster.runtime.requests import StartedRequests, start_requests

JOB_NAME: Final = "start_requested_flowcraft_runs"
OP_NAME: Final = "start_requested_flowcraft_runs_op"
MOST_SHOWN: Final = 100
LEASE_PREFIX: Final = "requests/"
LEASE_SECONDS: Final = 60.0
"""For a hundred requests; a launch without a lease is dead."""


class RequestRangeConfig(dg.Config):
    """A contiguous piece of the request queue."""

    topic_id: str = Field(description="Identity of the topic or table.")
    partition: int = Field(description="Partition; 0 on the embedded backend.")
    start: int = Field(description="First offset.")
    end: int = Field(description="Offset after the last one.")


class StartRequestedConfig(dg.Config):
    """Which requests to start."""

    ranges: list[RequestRangeConfig] = Field(description="Pieces of the request queue.")


def build_requested_runs_job() -> dg.JobDefinition:
    """The job that starts the runs of handed-over requests."""

    @dg.op(name=OP_NAME, out=dg.Out(list, description="Ids of the workflow runs."))
    def start_requested_runs(
        context: OpExecutionContext, config: StartRequestedConfig, flowcraft: FlowcraftClientResource
    ) -> list[str]:
        """Starts the runs of requests; those that cannot be started become dead letters."""
        with retried(context):
            outcomes = [_start_piece(context, flowcraft, piece) for piece in config.ranges]
        return _report(context, outcomes)

    @dg.job(
        name=JOB_NAME,
        description="Starts the workflow runs of requests; launched by the run-request sensor.",
        executor_def=dg.in_process_executor,
    )
    def start_requested_flowcraft_runs() -> None:
        start_requested_runs()

    return start_requested_flowcraft_runs


def _start_piece(
    context: OpExecutionContext, flowcraft: FlowcraftClientResource, piece: RequestRangeConfig
) -> StartedRequests:
    connection = flowcraft.connect()
    coordination = connection.backend.coordination
    lease = LEASE_PREFIX + context.run.tags.get(BATCH_TAG, context.run.run_id)
    return connection.call(
        start_requests(
            connection.client.asynchronous,
            RequestRange(piece.topic_id, piece.partition, piece.start, piece.end),
            time.time(),
            # Whoever sent the request waits for its run, whatever becomes of the Dagster run that started it.
            {DAGSTER_RUN_TAG: context.run.run_id, KEEP_TAG: "true"},
            lambda: coordination.acquire_lease(lease, context.run.run_id, LEASE_SECONDS),
        )
    )


def _report(context: OpExecutionContext, outcomes: list[StartedRequests]) -> list[str]:
    run_ids = [run_id for outcome in outcomes for run_id in outcome.run_ids]
    reasons = {letter_id: reason for outcome in outcomes for letter_id, reason in outcome.reasons.items()}
    losses = sum_up_losses([loss for outcome in outcomes for loss in outcome.losses])
    for letter_id, reason in list(reasons.items())[:MOST_SHOWN]:
        context.log.warning("%s became a dead letter: %s", letter_id, reason)
    if losses:
        # They are gone for good: a failed run would only be repeated. The check says it instead, and stays failed.
        context.log.error("%s", losses.describe())
        context.instance.report_runless_asset_event(losses.judge())
    metadata: dict[str, Any] = {
        "requests": len(run_ids) + len(reasons) + losses.lost,
        "started": len(run_ids),
        "dead_letters": len(reasons),
        "lost": losses.lost,
        "run_ids": run_ids[:MOST_SHOWN],
    }
    context.add_output_metadata(metadata)
    context.log_event(dg.AssetMaterialization(asset_key=REQUESTS_KEY, metadata=metadata))
    return run_ids
