"""Checks of a blueprint: whether it can do what it says, and whether its runs succeed. The second carries failures."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Iterator
from typing import Final

import dagster as dg
from dagster import AssetCheckExecutionContext

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.orchestration.catalogue import Catalogue, CatalogueEntry
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import sum_up
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement, grade
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import FAILED, FINAL_STATUSES, RunQuery

RUNS_CHECK: Final = "runs_succeed"
BLUEPRINT_CHECK: Final = "blueprint_is_sound"
MOST_FAILURES_NAMED: Final = 5


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
        severity=grade(share > limits.error_failed_share),
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


def build_blueprint_checks(
    catalogue: Catalogue, presenter: Presenter, limits: CheckLimits
) -> list[dg.AssetChecksDefinition]:
    """The checks of all blueprints; none where there is no blueprint.

    Args:
        catalogue: the blueprints.
        presenter: shows errors.
        limits: when checks fail.
    """
    entries = {entry.key: entry for entry in catalogue.entries.values()}
    if not entries:
        return []

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

    return [flowcraft_runs, flowcraft_blueprints]
