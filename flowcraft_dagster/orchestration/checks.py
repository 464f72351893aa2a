"""Asset checks: they carry what events cannot, above all failures."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

import dagster as dg
from dagster import AssetCheckExecutionContext

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, RunError, one_line
from flowcraft_dagster.orchestration.catalogue import Catalogue, CatalogueEntry
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import sum_up, tabulate
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.ports.records import AWAITING, FAILED, FINAL_STATUSES, RunQuery
from flowcraft_dagster.runtime.result import OpenWait

RUNS_CHECK: Final = "runs_succeed"
BLUEPRINT_CHECK: Final = "blueprint_is_sound"
WORKERS_KEY: Final = make_runtime_key("workers")
QUEUE_KEY: Final = make_runtime_key("job_queue")
WAITING_KEY: Final = make_runtime_key("waiting_runs")
MOST_FAILURES_NAMED: Final = 5
MOST_LISTED: Final = 100
MOST_WAITS_READ: Final = 20
WORKER_SILENCE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class CheckLimits:
    """When checks fail.

    Attributes:
        warn_failed_share: share of failed runs, 0 to 1, above which a blueprint's check fails as a warning.
        error_failed_share: the same, as an error.
        window_seconds: only runs that ended so recently are judged.
        window_runs: and only so many, the latest.
        min_workers: fewer living workers are an error.
        max_lag: more messages in the job queue are a warning.
        max_dead_letters: more are a warning.
        max_waiting_seconds: a run that has waited longer for an answer is a warning.
    """

    warn_failed_share: float = 0.0
    error_failed_share: float = 0.5
    window_seconds: float = 3600.0
    window_runs: int = 100
    min_workers: int = 1
    max_lag: int = 10_000
    max_dead_letters: int = 0
    max_waiting_seconds: float = 86_400.0


@dataclass(frozen=True)
class Judgement:
    """What a check found.

    Attributes:
        key: the asset.
        check_name: the check.
        passed: whether all is well.
        description: one line that says what is wrong.
        severity: how bad it is when it did not pass.
        metadata: figures.
    """

    key: dg.AssetKey
    check_name: str
    passed: bool
    description: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_result(self) -> dg.AssetCheckResult:
        """The result of a check that Dagster executes."""
        return dg.AssetCheckResult(
            asset_key=self.key,
            check_name=self.check_name,
            passed=self.passed,
            severity=self.severity,
            description=self.description,
            metadata=self.metadata,
        )

    def to_evaluation(self) -> dg.AssetCheckEvaluation:
        """The same as an event that a sensor reports."""
        return dg.AssetCheckEvaluation(
            asset_key=self.key,
            check_name=self.check_name,
            passed=self.passed,
            severity=self.severity,
            description=self.description,
            metadata=self.metadata,
        )


def judge_runs(connection: Connection, entry: CatalogueEntry, presenter: Presenter, limits: CheckLimits) -> Judgement:
    """Whether the latest runs of a blueprint succeeded. Raises InfrastructureError."""
    client = connection.client
    headers = client.runs(
        RunQuery(
            statuses=FINAL_STATUSES,
            blueprint_id=entry.blueprint.id,
            since=time.time() - limits.window_seconds,
            with_children=True,
            limit=limits.window_runs,
        )
    )
    figures = sum_up(reversed(headers))
    failed = [header for header in headers if header.status == FAILED][:MOST_FAILURES_NAMED]
    named = []
    for header in failed:
        try:
            named.append(presenter.name_failure(client.result(header.run_id)))
        except InfrastructureError:
            raise
        except FlowcraftError as error:
            named.append(f"run {header.run_id}: {error}")
    share = figures.failed_share
    passed = share <= limits.warn_failed_share
    count = f"{figures.statuses[FAILED]} of the last {figures.runs} runs failed"
    return Judgement(
        key=entry.key,
        check_name=RUNS_CHECK,
        passed=passed,
        description=count if passed else f"{count}: " + "; ".join(named),
        severity=_grade(share > limits.error_failed_share),
        metadata={
            "judged_runs": figures.runs,
            "failed_runs": figures.statuses[FAILED],
            "failed_share": round(share, 4),
        },
    )


def judge_blueprint(entry: CatalogueEntry) -> Judgement:
    """Whether a blueprint could be shown as wished and the linter found no error."""
    errors, warnings = entry.lint.errors, entry.lint.warnings
    problems = [*([entry.problem] if entry.problem else []), *(str(issue) for issue in errors)]
    return Judgement(
        key=entry.key,
        check_name=BLUEPRINT_CHECK,
        passed=not problems,
        description="; ".join(problems) or f"no errors, {len(warnings)} warnings",
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"errors": len(errors), "warnings": len(warnings)},
    )


def judge_runtime(connection: Connection, limits: CheckLimits) -> list[Judgement]:
    """Workers, queue, dead letters and waiting runs. Raises InfrastructureError."""
    return [
        _judge_workers(connection, limits),
        _judge_lag(connection, limits),
        _judge_letters(connection, limits),
        _judge_waiting(connection, limits),
    ]


def build_checks(catalogue: Catalogue, presenter: Presenter, limits: CheckLimits) -> list[dg.AssetChecksDefinition]:
    """The checks of all blueprints and of the runtime.

    Args:
        catalogue: the blueprints.
        presenter: shows errors.
        limits: when checks fail.
    """
    entries = {entry.key: entry for entry in catalogue.entries.values()}
    checks = [_build_runtime_checks(limits)]
    if not entries:
        return checks

    @dg.multi_asset_check(
        name="flowcraft_runs",
        specs=[
            dg.AssetCheckSpec(RUNS_CHECK, asset=key, description="Few enough of the latest runs failed.")
            for key in entries
        ],
        can_subset=True,
    )
    def flowcraft_runs(
        context: AssetCheckExecutionContext, flowcraft: FlowcraftClientResource
    ) -> Iterator[dg.AssetCheckResult]:
        with retried(context.op_execution_context):
            connection = flowcraft.connect()
            judged = [
                judge_runs(connection, entries[check.asset_key], presenter, limits)
                for check in context.selected_asset_check_keys
            ]
        yield from (judgement.to_result() for judgement in judged)

    @dg.multi_asset_check(
        name="flowcraft_blueprints",
        specs=[
            dg.AssetCheckSpec(BLUEPRINT_CHECK, asset=key, description="The blueprint can do what it says.")
            for key in entries
        ],
        can_subset=True,
    )
    def flowcraft_blueprints(context: AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for check in context.selected_asset_check_keys:
            yield judge_blueprint(entries[check.asset_key]).to_result()

    return [flowcraft_runs, flowcraft_blueprints, *checks]


def build_runtime_specs() -> list[dg.AssetSpec]:
    """External assets that the runtime's checks and figures belong to."""
    about = {
        WORKERS_KEY: "Worker processes. Start them with `flowcraft-dagster worker`.",
        QUEUE_KEY: "Messages that wait for a worker, and dead letters.",
        WAITING_KEY: "Runs that wait for an answer. Answer them with the job `resume_flowcraft_run`.",
    }
    return [
        dg.AssetSpec(key=key, description=text, group_name=RUNTIME_GROUP, kinds={"flowcraft"})
        for key, text in about.items()
    ]


def _build_runtime_checks(limits: CheckLimits) -> dg.AssetChecksDefinition:
    names = {
        "workers_are_alive": WORKERS_KEY,
        "queue_is_short": QUEUE_KEY,
        "no_dead_letters": QUEUE_KEY,
        "nobody_waits_long": WAITING_KEY,
    }

    @dg.multi_asset_check(
        name="flowcraft_runtime", specs=[dg.AssetCheckSpec(name, asset=key) for name, key in names.items()]
    )
    def flowcraft_runtime(
        context: AssetCheckExecutionContext, flowcraft: FlowcraftClientResource
    ) -> Iterator[dg.AssetCheckResult]:
        with retried(context.op_execution_context):
            judgements = judge_runtime(flowcraft.connect(), limits)
        for key in (WORKERS_KEY, QUEUE_KEY, WAITING_KEY):
            figures: dict[str, Any] = {}
            for judgement in judgements:
                figures |= judgement.metadata if judgement.key == key else {}
            context.op_execution_context.log_event(dg.AssetObservation(asset_key=key, metadata=figures))
        for judgement in judgements:
            yield judgement.to_result()

    return flowcraft_runtime


def _judge_workers(connection: Connection, limits: CheckLimits) -> Judgement:
    records = connection.call(connection.backend.workers.list_workers(time.time() - WORKER_SILENCE_SECONDS))
    alive = [record for record in records if record.state == "alive"]
    return Judgement(
        key=WORKERS_KEY,
        check_name="workers_are_alive",
        passed=len(alive) >= limits.min_workers,
        description=f"{len(alive)} workers alive, {limits.min_workers} wanted",
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"workers": len(alive), "worker_ids": [record.worker_id for record in alive][:MOST_LISTED]},
    )


def _judge_lag(connection: Connection, limits: CheckLimits) -> Judgement:
    lag = connection.call(connection.backend.jobs.measure_lag())
    return Judgement(
        key=QUEUE_KEY,
        check_name="queue_is_short",
        passed=lag <= limits.max_lag,
        description=f"{lag} messages wait, at most {limits.max_lag} are fine",
        metadata={"lag": lag},
    )


def _judge_letters(connection: Connection, limits: CheckLimits) -> Judgement:
    letters = connection.call(connection.backend.dead_letters.list_letters(limits.max_dead_letters + MOST_LISTED))
    named = "; ".join(f"{letter.letter_id}: {letter.reason}" for letter in letters[:MOST_FAILURES_NAMED])
    passed = len(letters) <= limits.max_dead_letters
    return Judgement(
        key=QUEUE_KEY,
        check_name="no_dead_letters",
        passed=passed,
        description=f"{len(letters)} dead letters" + ("" if passed else f": {named}"),
        metadata={"dead_letters": len(letters)},
    )


def _judge_waiting(connection: Connection, limits: CheckLimits) -> Judgement:
    query = RunQuery(statuses=frozenset({AWAITING}), with_children=True, limit=MOST_LISTED)
    headers = connection.client.runs(query)
    oldest = max((time.time() - header.updated_at for header in headers), default=0.0)
    late = [header for header in headers if time.time() - header.updated_at > limits.max_waiting_seconds]
    named = "; ".join(header.run_id for header in late[:MOST_FAILURES_NAMED])
    waits: list[OpenWait] = []
    for header in headers[:MOST_WAITS_READ]:
        # It may have gone on meanwhile.
        with suppress(RunError):
            found = connection.client.waiting(header.run_id)
            # Those of its child runs are listed with them: run and node are what an answer has to name.
            waits += [wait for wait in found if wait.run_id == header.run_id]
    rows = [
        {
            "run": wait.run_id,
            "node": wait.activation,
            "kind": wait.kind,
            "for": _name_event(wait),
            "since": datetime.fromtimestamp(wait.since, timezone.utc).isoformat(timespec="seconds"),
        }
        for wait in waits
    ]
    return Judgement(
        key=WAITING_KEY,
        check_name="nobody_waits_long",
        passed=not late,
        description=f"{len(headers)} runs wait" + (f"; longest: {named}" if late else ""),
        metadata={
            "waiting": len(headers),
            "longest_wait_seconds": round(oldest, 1),
            "waits": tabulate(dict.fromkeys(("run", "node", "kind", "for", "since"), "string"), rows),
        },
    )


def _name_event(wait: OpenWait) -> str:
    """What a wait waits for: the name of its event, or the moment when it ends."""
    if "wakeAt" in wait.details:
        return datetime.fromtimestamp(wait.details["wakeAt"], timezone.utc).isoformat(timespec="seconds")
    return one_line(str(wait.details.get("eventName") or ""))


def _grade(is_error: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
