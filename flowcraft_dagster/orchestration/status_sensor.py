"""The status sensor: finished runs become events of their blueprints' assets, one event a blueprint and tick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from flowcraft_dagster.errors import InfrastructureError, UnknownCursor
from flowcraft_dagster.orchestration.blueprint_checks import judge_blueprint
from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.connection import ANSWER_SECONDS, Connection
from flowcraft_dagster.orchestration.figures import LATEST
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.labels import CLIENT_KEY, STORE_KEY
from flowcraft_dagster.orchestration.port_resources import FlowcraftStoreResource
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.status_cursor import StatusCursor, read_cursor, start_anew
from flowcraft_dagster.orchestration.status_events import AssetEvent, StatusEvents, count_in_words
from flowcraft_dagster.orchestration.status_reading import FinishedRuns, FinishedRunsReader
from flowcraft_dagster.ports.records import RunHeader

EventTransformer = Callable[
    [dg.SensorEvaluationContext, str, Sequence[RunHeader], Sequence[AssetEvent]], Iterable[AssetEvent]
]
"""Takes the context, a blueprint id, its latest runs and the events about them; gives the events to report."""

DETAIL_SECONDS: Final = 10.0
"""Time for reading single runs, after the listing."""


@dataclass(frozen=True)
class StatusSensorOptions:
    """How much the status sensor does in a tick.

    Attributes:
        max_seconds: no further page is read after this; a tick may take 60 s in Dagster.
        max_runs: no further page is read after so many runs.
        safety_lag_seconds: runs that ended less long ago are left for the next tick, since the list may lag behind;
            None for what suits the backend.
        lookback_seconds: with no usable cursor, runs that ended before are left out.
        run_events: when a tick finds no more runs than this, each gets an event of its own beside the one of its
            blueprint; 0 for never.
        node_events: events and checks of nodes in a tick, where nodes are shown as assets; what failed comes first.
    """

    max_seconds: float = 30.0
    max_runs: int = 100_000
    safety_lag_seconds: float | None = None
    lookback_seconds: float = 86_400.0
    run_events: int = 5
    node_events: int = 200


def build_flowcraft_status_sensor(
    *,
    catalogue: Catalogue,
    presenter: Presenter | None = None,
    limits: CheckLimits | None = None,
    options: StatusSensorOptions | None = None,
    name: str = "flowcraft_status_sensor",
    minimum_interval_seconds: int = 15,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    event_transformer_fn: EventTransformer | None = None,
) -> dg.SensorDefinition:
    """A sensor that shows each blueprint's runs as events of its asset.

    For every blueprint with newly finished runs, a tick reports a materialization when at least one completed, and
    an observation when none did, both with counts, durations, and the latest runs and failures; and it evaluates the
    check of the blueprint's runs. Few runs get an observation each, too. Where nodes are shown as assets, those that
    ran get an event and a check. The check of the blueprints themselves is evaluated when one has changed. Runs that
    a Dagster run has recorded itself are not counted again.

    Args:
        catalogue: the blueprints.
        presenter: shows results; the default one when None.
        limits: when the check of a blueprint's runs fails; the defaults when None.
        options: bounds of a tick; the defaults when None.
        name: the sensor's name.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs without a click.
        event_transformer_fn: rewrites, adds or drops events before they are reported.
    """
    presenter = presenter or Presenter()
    judged_by = limits or CheckLimits()
    options = options or StatusSensorOptions()

    @dg.sensor(
        name=name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={CLIENT_KEY, STORE_KEY},
        description="Reports finished workflow runs to the assets of their blueprints.",
    )
    def flowcraft_status_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        resource: FlowcraftClientResource = getattr(context.resources, CLIENT_KEY)
        store: FlowcraftStoreResource = getattr(context.resources, STORE_KEY)
        try:
            connection = resource.connect(ANSWER_SECONDS)
            tick = _Tick(name, context, connection, store, catalogue, presenter, judged_by, options)
            return tick.run(event_transformer_fn)
        except InfrastructureError as error:
            # Nothing is lost: the cursor stays where it is.
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=context.cursor)

    return flowcraft_status_sensor


@dataclass
class _Tick:
    """One look at what has finished."""

    name: str
    context: dg.SensorEvaluationContext
    connection: Connection
    store: FlowcraftStoreResource
    catalogue: Catalogue
    presenter: Presenter
    limits: CheckLimits
    options: StatusSensorOptions
    began: float = field(default_factory=time.monotonic)

    def run(self, transform: EventTransformer | None) -> dg.SensorResult:
        cursor, found = self._read()
        reporter = StatusEvents(
            connection=self.connection,
            presenter=self.presenter,
            limits=self.limits,
            log=self.context.log,
            batch_id=cursor.batch_id,
            deadline=self.began + self.options.max_seconds + DETAIL_SECONDS,
            node_budget=self.options.node_events,
        )
        events: list[AssetEvent] = []
        if cursor.judged != self.catalogue.digest:
            events += [judge_blueprint(entry).to_evaluation() for entry in self.catalogue.entries.values()]
        one_by_one = found.statuses.total() <= self.options.run_events
        unjudged = []
        # What was put off comes first, so that it is not put off for ever.
        for blueprint_id in dict.fromkeys([*cursor.unjudged, *found.figures]):
            entry = self.catalogue.entries.get(blueprint_id)
            if entry is None:
                continue
            figures = found.figures.get(blueprint_id)
            reported = [] if figures is None else reporter.describe(entry, figures, one_by_one=one_by_one)
            judgement = reporter.judge(entry)
            if judgement is None:
                unjudged.append(blueprint_id)
            else:
                reported.append(judgement)
            if transform is not None:
                latest = [] if figures is None else figures.latest[-LATEST:]
                reported = list(transform(self.context, blueprint_id, latest, reported))
            events += reported
        after = cursor.advance(found.position, found.held, self.catalogue.digest, unjudged)
        return dg.SensorResult(
            asset_events=events, cursor=after.write(), skip_reason=_sum_up(found, reporter.nodes_left_out)
        )

    def _read(self) -> tuple[StatusCursor, FinishedRuns]:
        cursor, reason = read_cursor(self.context.cursor)
        if reason is not None:
            self.context.log.warning(
                "the cursor is not used, since %s; runs of the last %d s are reported anew",
                reason,
                self.options.lookback_seconds,
            )
        until = time.time() - self.connection.choose_lag(self.options.safety_lag_seconds)
        reader = FinishedRunsReader(
            self.name,
            self.store,
            self.context.instance,
            self.catalogue,
            self.began + self.options.max_seconds,
            self.options.max_runs,
        )
        cursor = cursor.begin(self.options.lookback_seconds)
        try:
            return cursor, reader.read(cursor, until)
        except UnknownCursor:
            self.context.log.warning("the store does not know the cursor's place %r; starting anew", cursor.position)
            cursor = start_anew(self.context.cursor or "").begin(self.options.lookback_seconds)
            return cursor, reader.read(cursor, until)


def _sum_up(found: FinishedRuns, nodes_left_out: int) -> str:
    """What the tick surfaced, for example ``41 completed, 2 failed, 3 blueprints``."""
    count = len(found.figures)
    blueprints = f"{count} blueprint{'' if count == 1 else 's'}"
    parts = [f"{count_in_words(found.statuses)}, {blueprints}" if found.figures else "no run has ended since"]
    if found.recorded:
        parts.append(f"{found.recorded} recorded by their Dagster runs")
    if found.held:
        parts.append(f"{len(found.held)} left to their Dagster runs")
    if found.elsewhere:
        parts.append(f"{found.elsewhere.total()} of blueprints that this location does not have")
    if nodes_left_out:
        parts.append(f"{nodes_left_out} nodes more than may be shown in a tick")
    if not found.is_complete:
        parts.append("more next time")
    return "; ".join(parts)
