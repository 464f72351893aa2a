"""Reconciliation: an asset whose materialization is a pass over stalled runs, its job and its schedule."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import dagster as dg
from dagster import AssetExecutionContext
from pydantic import Field

from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import tabulate
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement, grade
from flowcraft_dagster.orchestration.port_resources import FlowcraftCoordinationResource
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.runtime_checks import QUEUE_ASSET, SERVERS_ASSET, WORKERS_ASSET
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.orchestration.waiting_check import WAITING_ASSET
from flowcraft_dagster.runtime.reconciler import ReconciliationStats

OP_NAME: Final = "reconcile_flowcraft_runs_op"
JOB_NAME: Final = "reconcile_flowcraft_runs"
SCHEDULE_NAME: Final = "reconcile_flowcraft_runs_schedule"
RECONCILIATION_KEY: Final = make_runtime_key("reconciliation")
STALLED_CHECK: Final = "no_stalled_runs"
LEASE: Final = "reconciliation"
LEASE_SECONDS: Final = 60.0
"""A pass that was killed holds up others for so long; one that goes on renews its lease."""
POOL: Final = "flowcraft_reconciliation"
MAX_RUNTIME_SECONDS: Final = 1800
MOST_LISTED: Final = 100

UNFINISHED: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


class ReconciliationConfig(dg.Config):
    """How a pass is made."""

    stalled_after_seconds: float = Field(
        default=300.0, description="A running run that was not touched for so long counts as stalled."
    )
    everything: bool = Field(
        default=False, description="Wake every live run, whatever its age: rebuilds the job queue after it was lost."
    )


def build_reconciliation_asset(
    limits: CheckLimits | None = None, fresh_seconds: float = 0.0
) -> dg.AssetsDefinition:
    """The asset: each materialization is one pass, with its figures as metadata.

    Args:
        limits: when its check fails; the defaults when None.
        fresh_seconds: after so long without a pass the asset is no longer fresh, and after half of it that is said;
            0 for never, less than two minutes counts as two.
    """
    given = limits or CheckLimits()

    @dg.multi_asset(
        name=OP_NAME,
        specs=[
            dg.AssetSpec(
                key=RECONCILIATION_KEY,
                description="Passes over live runs: those that stand still are woken, so that a worker takes them up.",
                group_name=RUNTIME_GROUP,
                kinds={"flowcraft"},
                # Another pass under way leaves nothing to do for this one.
                skippable=True,
                freshness_policy=_make_freshness(fresh_seconds),
            )
        ],
        check_specs=[dg.AssetCheckSpec(STALLED_CHECK, asset=RECONCILIATION_KEY, description="The pass woke no run.")],
        pool=POOL,
        # So that a pass that is not made leaves the check as it is.
        can_subset=True,
    )
    def reconciliation(
        context: AssetExecutionContext,
        config: ReconciliationConfig,
        flowcraft: FlowcraftClientResource,
        flowcraft_coordination: FlowcraftCoordinationResource,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        began = time.monotonic()
        with retried(context.op_execution_context):
            stats = make_pass(flowcraft.connect(), flowcraft_coordination, config)
        if stats is None:
            context.log.warning("another pass is under way and says what it finds; nothing to do")
            return
        metadata = describe_pass(stats, time.monotonic() - began)
        if RECONCILIATION_KEY in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=RECONCILIATION_KEY, metadata=metadata)
        else:
            # Only the check was executed, which is a pass, too.
            context.log_event(dg.AssetObservation(asset_key=RECONCILIATION_KEY, metadata=metadata))
        if context.selected_asset_check_keys:
            yield judge_pass(stats, given).to_result()

    return reconciliation


def _make_freshness(seconds: float) -> dg.FreshnessPolicy | None:
    if seconds <= 0:
        return None
    # Dagster knows no window below a minute.
    window = timedelta(seconds=max(120.0, seconds))
    return dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window / 2)


def make_pass(
    connection: Connection, coordination: FlowcraftCoordinationResource, config: ReconciliationConfig
) -> ReconciliationStats | None:
    """Make one pass over the live runs, or none where another one is under way.

    Two at once would do no harm, only the same work twice: so a lease is enough.

    Raises:
        InfrastructureError: the listing cannot be read; runs woken before stay woken.
    """
    with coordination.hold_lease(LEASE, LEASE_SECONDS) as is_mine:
        if not is_mine:
            return None
        reconciler = connection.app.reconciler(
            connection.settings, backend=connection.backend, stalled_after=config.stalled_after_seconds
        )
        return connection.call(reconciler.run(everything=config.everything))


def build_reconciliation_job() -> Any:
    """The job: one pass, then the checks of servers, workers, queue and waiting runs."""
    selection = dg.AssetSelection.assets(RECONCILIATION_KEY) | dg.AssetSelection.checks_for_assets(
        RECONCILIATION_KEY, SERVERS_ASSET, WORKERS_ASSET, QUEUE_ASSET, WAITING_ASSET
    )
    return dg.define_asset_job(
        JOB_NAME,
        selection=selection,
        description="Wakes workflow runs that stand still, and looks at servers, workers, queue and waiting runs.",
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(MAX_RUNTIME_SECONDS)},
    )


def build_reconciliation_schedule(
    *,
    cron_schedule: str = "*/5 * * * *",
    stalled_after_seconds: float = 300.0,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.RUNNING,
) -> dg.ScheduleDefinition:
    """The schedule of ``reconcile_flowcraft_runs``; skips while the last pass goes on.

    Args:
        cron_schedule: when.
        stalled_after_seconds: see :class:`ReconciliationConfig`.
        default_status: whether it runs without a click.
    """

    @dg.schedule(
        name=SCHEDULE_NAME,
        cron_schedule=cron_schedule,
        job_name=JOB_NAME,
        default_status=default_status,
        description="Reconciles workflow runs regularly.",
    )
    def reconcile_flowcraft_runs_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        # An old one that never ended was killed together with what would have noticed; it must not hold up others.
        recent = datetime.now(timezone.utc) - timedelta(seconds=MAX_RUNTIME_SECONDS)
        asked = dg.RunsFilter(job_name=JOB_NAME, statuses=list(UNFINISHED), created_after=recent)
        going_on = context.instance.get_run_records(asked, limit=1)
        if going_on:
            return dg.SkipReason(f"the pass of run {going_on[0].dagster_run.run_id} goes on")
        config = ReconciliationConfig(stalled_after_seconds=stalled_after_seconds)
        # A tick that is repeated asks for the same pass.
        key = context.scheduled_execution_time.isoformat()
        return dg.RunRequest(run_key=key, run_config=dg.RunConfig(ops={OP_NAME: config}))

    return reconcile_flowcraft_runs_schedule


def describe_pass(stats: ReconciliationStats, seconds: float) -> dict[str, Any]:
    """Figures of a pass as metadata; each is plotted."""
    rows = [{"run": run_id, "what": "woken", "error": ""} for run_id in stats.reconciled_ids]
    rows += [{"run": run_id, "what": "failed", "error": stats.errors.get(run_id, "")} for run_id in stats.failed_ids]
    return {
        "stalled": stats.stalled_runs,
        "reconciled": stats.reconciled_runs,
        "failed": stats.failed_runs,
        "still_queued": stats.waiting_runs,
        "scanned": stats.scanned_runs,
        "seconds": round(seconds, 3),
        "runs": tabulate({"run": "string", "what": "string", "error": "string"}, rows[:MOST_LISTED]),
    }


def judge_pass(stats: ReconciliationStats, limits: CheckLimits) -> Judgement:
    """The check that belongs to a pass."""
    named = ", ".join(stats.stalled_ids[:5])
    return Judgement(
        key=RECONCILIATION_KEY,
        check_name=STALLED_CHECK,
        passed=not stats.failed_runs and stats.stalled_runs <= limits.warn_stalled,
        severity=grade(bool(stats.failed_runs) or stats.stalled_runs > limits.error_stalled),
        description=f"{stats.stalled_runs} of {stats.scanned_runs} live runs stood still"
        + (f": {named}" if named else ""),
        metadata={"stalled": stats.stalled_runs, "failed": stats.failed_runs},
    )
