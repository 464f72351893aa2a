"""Everything for a code location, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.blueprint_assets import build_blueprint_assets
from flowcraft_dagster.orchestration.blueprint_checks import build_blueprint_checks
from flowcraft_dagster.orchestration.catalogue import build_catalogue
from flowcraft_dagster.orchestration.completion import build_follow_up_job, build_follow_up_sensor
from flowcraft_dagster.orchestration.connection import find_app, register_app
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.node_checks import build_node_checks
from flowcraft_dagster.orchestration.operations import build_operator_jobs
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.reconciliation import (
    build_reconciliation_asset,
    build_reconciliation_job,
    build_reconciliation_schedule,
)
from flowcraft_dagster.orchestration.request_losses import build_request_check, build_request_spec
from flowcraft_dagster.orchestration.requested_runs import build_requested_runs_job
from flowcraft_dagster.orchestration.requests import build_flowcraft_run_request_sensor
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.orchestration.resources import FlowcraftBackendResource
from flowcraft_dagster.orchestration.run_failures import build_flowcraft_run_failure_sensor
from flowcraft_dagster.orchestration.runtime_checks import build_runtime_checks, build_runtime_specs
from flowcraft_dagster.orchestration.start_job import build_start_job
from flowcraft_dagster.orchestration.status_sensor import (
    EventTransformer,
    StatusSensorOptions,
    build_flowcraft_status_sensor,
)
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator


@dataclass(frozen=True)
class FlowcraftAutomation:
    """What a code location does by itself.

    Attributes:
        running: whether the status sensor, the run-request sensor and the reconciliation schedule run without a
            click; False leaves them stopped.
        reacting: the same for the completion and failure sensors, which launch Dagster runs or cancel workflows.
        reconciliation_cron: when stalled runs are looked for.
        stalled_after_seconds: a running run that was not touched for so long counts as stalled.
        reconciliation_fresh_seconds: after so long without a pass its asset is no longer fresh; 0 for never. Only
            where the schedule runs by itself.
        status_interval_seconds: between two ticks of the status sensor.
        request_interval_seconds: between two ticks of the run-request sensor.
    """

    running: bool = True
    reacting: bool = False
    reconciliation_cron: str = "*/5 * * * *"
    stalled_after_seconds: float = 300.0
    reconciliation_fresh_seconds: float = 3600.0
    status_interval_seconds: int = 15
    request_interval_seconds: int = 15


def build_flowcraft_definitions(
    app: Flowcraft | str,
    *,
    backend: FlowcraftBackendResource | None = None,
    translator: FlowcraftDagsterTranslator | None = None,
    presenter: Presenter | None = None,
    automation: FlowcraftAutomation | None = None,
    check_limits: CheckLimits | None = None,
    status_options: StatusSensorOptions | None = None,
    event_transformer_fn: EventTransformer | None = None,
    node_assets: bool | Sequence[str] = False,
    observe_only: bool = False,
) -> dg.Definitions:
    """Assets, checks, jobs, sensors, the schedule and resources for an app. Connects to nothing.

    Args:
        app: the app, or where it is: ``MODULE:ATTR``.
        backend: where runs are kept; what the environment says when None.
        translator: names the assets.
        presenter: shows results: redaction, limits of size.
        automation: what runs by itself.
        check_limits: when checks warn, and when they fail.
        status_options: bounds of the status sensor.
        event_transformer_fn: see :func:`build_flowcraft_status_sensor`.
        node_assets: True for an external asset for each node of all blueprints, or the ids of some.
        observe_only: only what shows runs; nothing that starts, answers, cancels or wakes one.

    Raises:
        AppLoadError, BlueprintError: there is no such app, or one of its blueprints is refused; says which and why.

    Example:
        >>> defs = build_flowcraft_definitions("examples.moderation:app")  # doctest: +SKIP
    """
    target = app if isinstance(app, str) else register_app(app)
    loaded = find_app(target)
    translator = translator or FlowcraftDagsterTranslator()
    presenter = presenter or Presenter()
    automation = automation or FlowcraftAutomation()
    limits = check_limits or CheckLimits()
    chosen = list(loaded.blueprints) if node_assets is True else list(node_assets or ())
    catalogue = build_catalogue(loaded, translator, presenter, chosen)
    sensor_status = dg.DefaultSensorStatus.RUNNING if automation.running else dg.DefaultSensorStatus.STOPPED
    shown = dg.Definitions(
        assets=[*build_runtime_specs(), *catalogue.list_node_specs()],
        asset_checks=[
            *build_blueprint_checks(catalogue, presenter, limits),
            *build_node_checks(catalogue, presenter, limits),
            *build_runtime_checks(presenter, limits),
        ],
        sensors=[
            build_flowcraft_status_sensor(
                catalogue=catalogue,
                presenter=presenter,
                limits=limits,
                options=status_options,
                minimum_interval_seconds=automation.status_interval_seconds,
                default_status=sensor_status,
                event_transformer_fn=event_transformer_fn,
            )
        ],
        resources=build_flowcraft_resources(target, backend),
    )
    if observe_only:
        return dg.Definitions.merge(shown, dg.Definitions(assets=[entry.spec for entry in catalogue.entries.values()]))
    reacting = dg.DefaultSensorStatus.RUNNING if automation.reacting else dg.DefaultSensorStatus.STOPPED
    acting = dg.Definitions(
        assets=[
            *build_blueprint_assets(catalogue, presenter),
            build_reconciliation_asset(
                limits, automation.reconciliation_fresh_seconds if automation.running else 0.0
            ),
            build_request_spec(),
        ],
        asset_checks=[build_request_check()],
        jobs=[
            build_start_job(catalogue, presenter),
            build_requested_runs_job(),
            build_reconciliation_job(),
            build_follow_up_job(presenter),
            *build_operator_jobs(),
        ],
        schedules=[
            build_reconciliation_schedule(
                cron_schedule=automation.reconciliation_cron,
                stalled_after_seconds=automation.stalled_after_seconds,
                default_status=dg.DefaultScheduleStatus.RUNNING
                if automation.running
                else dg.DefaultScheduleStatus.STOPPED,
            )
        ],
        sensors=[
            build_flowcraft_run_request_sensor(
                minimum_interval_seconds=automation.request_interval_seconds, default_status=sensor_status
            ),
            build_follow_up_sensor(reacting),
            build_flowcraft_run_failure_sensor(default_status=reacting),
        ],
    )
    return dg.Definitions.merge(shown, acting)
