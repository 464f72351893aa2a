"""What becomes of workflows whose Dagster run was killed: a killed run cannot cancel them itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, RunFinished
from flowcraft_dagster.orchestration.labels import DAGSTER_RUN_TAG, KEEP_TAG
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import LIVE_STATUSES, RunQuery

MOST_RUNS: Final = 10_000


def build_flowcraft_run_failure_sensors(
    *,
    jobs: Sequence[Any] | None = None,
    name: str = "flowcraft_run_failure_sensor",
    minimum_interval_seconds: int = 15,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> list[dg.SensorDefinition]:
    """Sensors that cancel the workflows of Dagster runs that were killed.

    A Dagster run whose step ended by itself has decided about its workflow: one that only ran out of time lets it go
    on. So only runs without a failed step count, and workflows that were started with ``cancel_workflow: false`` are
    kept. A killed process is noticed by the code server that started it; when that is gone too, or runs are launched
    elsewhere, only by run monitoring (``run_monitoring: {enabled: true}`` in ``dagster.yaml``). A tick handles at most
    five runs, Dagster's default.

    Args:
        jobs: whose runs to watch; None for all of the location.
        name: the sensors' name; the second one adds ``_cancelled``.
        minimum_interval_seconds: between two ticks.
        default_status: whether they run without a click.
    """
    monitored = None if jobs is None else list(jobs)

    @dg.run_failure_sensor(
        name=name,
        monitored_jobs=monitored,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Cancels workflow runs whose Dagster run was killed.",
    )
    def failed(context: dg.RunFailureSensorContext, flowcraft: FlowcraftClientResource) -> dg.SkipReason:
        if context.get_step_failure_events():
            return dg.SkipReason(f"{context.dagster_run.run_id} ended by itself")
        return dg.SkipReason(cancel_workflows(context, flowcraft))

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.CANCELED,
        name=f"{name}_cancelled",
        monitored_jobs=monitored,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Cancels workflow runs whose Dagster run was cancelled by force.",
    )
    def cancelled(context: dg.RunStatusSensorContext, flowcraft: FlowcraftClientResource) -> dg.SkipReason:
        return dg.SkipReason(cancel_workflows(context, flowcraft))

    return [failed, cancelled]


def cancel_workflows(context: dg.RunStatusSensorContext, flowcraft: FlowcraftClientResource) -> str:
    """Ask the live workflow runs that a Dagster run started to end; says in a line what was done."""
    dagster_run_id = context.dagster_run.run_id
    client = flowcraft.get_client()
    live = client.runs(RunQuery(statuses=LIVE_STATUSES, limit=MOST_RUNS))
    mine = [header for header in live if header.tags.get(DAGSTER_RUN_TAG) == dagster_run_id]
    kept = sum(KEEP_TAG in header.tags for header in mine)
    asked = 0
    for header in mine:
        if KEEP_TAG in header.tags:
            continue
        try:
            client.cancel(header.run_id, "its Dagster run was killed")
            asked += 1
        except RunFinished:
            continue
        except InfrastructureError:
            raise
        except FlowcraftError as error:
            context.log.warning("run %s cannot be cancelled: %s", header.run_id, error)
    return f"{dagster_run_id}: asked {asked} workflow runs to end, kept {kept}"
