"""Checks of what runs the workflows: servers, workers, queue and dead letters; with that of runs that wait."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
from dagster import AssetCheckExecutionContext

from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.figures import tabulate
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement, grade
from flowcraft_dagster.orchestration.port_resources import (
    FlowcraftCoordinationResource,
    FlowcraftQueueResource,
    FlowcraftStoreResource,
    check_together,
)
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.orchestration.waiting_check import WAITING_ASSET, judge_waiting
from flowcraft_dagster.orchestration.worker_resource import FlowcraftWorkerResource

SERVERS_ASSET: Final = make_runtime_key("servers")
WORKERS_ASSET: Final = make_runtime_key("workers")
QUEUE_ASSET: Final = make_runtime_key("job_queue")
SERVERS_CHECK: Final = "servers_answer"
DAY_SECONDS: Final = 86_400.0
MOST_NAMED: Final = 5
MOST_LISTED: Final = 100


def build_runtime_specs() -> list[dg.AssetSpec]:
    """External assets that the runtime's checks and figures belong to."""
    about = {
        SERVERS_ASSET: "Kafka, Cassandra and Redis, or the file of the embedded backend.",
        WORKERS_ASSET: "Worker processes. Start them with `flowcraft-dagster worker`.",
        QUEUE_ASSET: "Messages that wait for a worker, and dead letters. Send those again with the job"
        " `replay_dead_letters`.",
        WAITING_ASSET: "Runs that wait for an answer. Answer them with the job `resume_flowcraft_run`.",
    }
    return [
        dg.AssetSpec(
            key=key,
            description=f"{text} Looked at whenever the checks are executed, as `reconcile_flowcraft_runs` does.",
            group_name=RUNTIME_GROUP,
            kinds={"flowcraft"},
        )
        for key, text in about.items()
    ]


def build_runtime_checks(presenter: Presenter, limits: CheckLimits) -> list[dg.AssetChecksDefinition]:
    """The checks of the runtime, and observations with their figures.

    Args:
        presenter: redacts and cuts what is said of dead letters.
        limits: when checks fail.
    """

    @dg.multi_asset_check(name="flowcraft_runtime", specs=list_runtime_checks(limits))
    def flowcraft_runtime(
        context: AssetCheckExecutionContext,
        flowcraft: FlowcraftClientResource,
        flowcraft_queue: FlowcraftQueueResource,
        flowcraft_worker: FlowcraftWorkerResource,
    ) -> Iterator[dg.AssetCheckResult]:
        with retried(context.op_execution_context):
            judgements = [
                judge_workers(flowcraft_worker, limits),
                judge_lag(flowcraft_queue, limits),
                judge_letters(flowcraft_queue, presenter, limits),
                judge_waiting(flowcraft.get_client(), limits),
            ]
        yield from _report(context, judgements)

    @dg.multi_asset_check(
        name="flowcraft_servers",
        specs=[dg.AssetCheckSpec(SERVERS_CHECK, asset=SERVERS_ASSET, description="Every server can be worked with.")],
    )
    def flowcraft_servers(
        context: AssetCheckExecutionContext,
        flowcraft_queue: FlowcraftQueueResource,
        flowcraft_store: FlowcraftStoreResource,
        flowcraft_coordination: FlowcraftCoordinationResource,
    ) -> Iterator[dg.AssetCheckResult]:
        yield from _report(context, [judge_servers(flowcraft_queue, flowcraft_store, flowcraft_coordination)])

    return [flowcraft_runtime, flowcraft_servers]


def list_runtime_checks(limits: CheckLimits) -> list[dg.AssetCheckSpec]:
    """The checks of workers, queue and waiting runs; each says from when on it fails."""
    workers = (limits.warn_workers, limits.error_workers)
    lag = (limits.warn_lag, limits.error_lag)
    letters = (limits.warn_dead_letters, limits.error_dead_letters)
    days = (limits.warn_waiting_seconds / DAY_SECONDS, limits.error_waiting_seconds / DAY_SECONDS)
    about = {
        "workers_are_alive": (WORKERS_ASSET, "Workers are alive", "with fewer than {}", workers),
        "queue_is_short": (QUEUE_ASSET, "Few messages wait for a worker", "with more than {}", lag),
        "no_dead_letters": (QUEUE_ASSET, "Workers could handle all", "with more than {} dead letters", letters),
        "nobody_waits_long": (WAITING_ASSET, "No run waits long for an answer", "after {} days", days),
    }
    specs = []
    for name, (key, text, bound, pair) in about.items():
        warning, error = (bound.format(f"{limit:,.10g}") for limit in pair)
        specs.append(
            dg.AssetCheckSpec(name, asset=key, description=f"{text}. A warning {warning}, an error {error}.")
        )
    return specs


def judge_servers(
    queue: FlowcraftQueueResource, store: FlowcraftStoreResource, coordination: FlowcraftCoordinationResource
) -> Judgement:
    """Whether every server can be worked with, as ``flowcraft-dagster doctor`` says it.

    Coordination alone being away is a warning: it only costs time.
    """
    *required, hints = check_together([queue, store, coordination])
    needed = {report.name: report for part in required for report in part}
    reports = {report.name: report for report in hints} | needed
    away = [report for report in reports.values() if not report.ok]
    rows = [{"server": report.name, "ok": report.ok, "detail": one_line(report.detail)} for report in reports.values()]
    return Judgement(
        key=SERVERS_ASSET,
        check_name=SERVERS_CHECK,
        passed=not away,
        description="; ".join(f"{report.name}: {one_line(report.detail)}" for report in away or reports.values()),
        severity=grade(any(not report.ok for report in needed.values())),
        metadata={
            "servers": len(reports),
            "servers_away": len(away),
            "reports": tabulate({"server": "string", "ok": "bool", "detail": "string"}, rows),
        },
    )


def judge_workers(worker: FlowcraftWorkerResource, limits: CheckLimits) -> Judgement:
    """Whether enough workers are alive; says what troubles them. Raises InfrastructureError."""
    reports = worker.health()
    troubled = [report for report in reports if not report.ok]
    named = "".join(f"; {report.name}: {one_line(report.detail)}" for report in troubled[:MOST_NAMED])
    wanted = max(limits.warn_workers, limits.error_workers)
    rows = [{"worker": report.name, "ok": report.ok, "detail": one_line(report.detail)} for report in reports]
    return Judgement(
        key=WORKERS_ASSET,
        check_name="workers_are_alive",
        passed=len(reports) >= wanted,
        description=f"{len(reports)} workers alive, {wanted} wanted{named}",
        severity=grade(len(reports) < limits.error_workers),
        metadata={
            "workers": len(reports),
            "troubled_workers": len(troubled),
            "reports": tabulate({"worker": "string", "ok": "bool", "detail": "string"}, rows[:MOST_LISTED]),
        },
    )


def judge_lag(queue: FlowcraftQueueResource, limits: CheckLimits) -> Judgement:
    """Whether few enough messages wait. Raises InfrastructureError."""
    lag = queue.measure_lag()
    return Judgement(
        key=QUEUE_ASSET,
        check_name="queue_is_short",
        passed=lag <= limits.warn_lag,
        description=f"{lag} messages wait, at most {limits.warn_lag} are fine",
        severity=grade(lag > limits.error_lag),
        metadata={"lag": lag},
    )


def judge_letters(queue: FlowcraftQueueResource, presenter: Presenter, limits: CheckLimits) -> Judgement:
    """Whether few enough messages became dead letters. Raises InfrastructureError."""
    # One more than the limit tells that it is passed; the reasons of all are not needed.
    counted = max(limits.warn_dead_letters, limits.error_dead_letters) + MOST_LISTED
    letters = queue.list_letters(counted)
    named = "; ".join(
        f"{one_line(letter.letter_id)}: {presenter.show_text('reason', letter.reason)}"
        for letter in letters[:MOST_NAMED]
    )
    passed = len(letters) <= limits.warn_dead_letters
    count = f"{len(letters)}{' or more' if len(letters) == counted else ''} dead letters"
    return Judgement(
        key=QUEUE_ASSET,
        check_name="no_dead_letters",
        passed=passed,
        description=count if passed else f"{count}: {named}",
        severity=grade(len(letters) > limits.error_dead_letters),
        metadata={"dead_letters": len(letters)},
    )


def _report(context: AssetCheckExecutionContext, judgements: list[Judgement]) -> Iterator[dg.AssetCheckResult]:
    """The figures of each asset as one observation, so that the UI plots them, and the checks."""
    for key in dict.fromkeys(judgement.key for judgement in judgements):
        figures: dict[str, Any] = {}
        for judgement in judgements:
            figures |= judgement.metadata if judgement.key == key else {}
        context.op_execution_context.log_event(dg.AssetObservation(asset_key=key, metadata=figures))
    for judgement in judgements:
        yield judgement.to_result()
