"""The status sensor: finished runs become events of their blueprints' assets, one event a blueprint and tick."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.blueprint import Blueprint
from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.orchestration.blueprint_checks import judge_blueprint, judge_runs
from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import RunFigures
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.labels import BATCH_ID, CLIENT_KEY, RECORDER_TAG, RUN_ID, STORE_KEY
from flowcraft_dagster.orchestration.port_resources import FlowcraftStoreResource
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.status_cursor import MOST_HELD, StatusCursor, read_cursor, start_anew
from flowcraft_dagster.ports.records import COMPLETED, FAILED, RunHeader
from flowcraft_dagster.runtime.result import RunResult

AssetEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation
EventTransformer = Callable[
    [dg.SensorEvaluationContext, str, Sequence[RunHeader], Sequence[AssetEvent]], Iterable[AssetEvent]
]
"""Takes the context, a blueprint id, its latest runs and the events about them; gives the events to report."""

PAGE: Final = 1000
MOST_FAILURES_READ: Final = 10
DETAIL_SECONDS: Final = 10.0
"""Time for reading single runs, after the listing."""
HOLD_SECONDS: Final = 600.0
"""How long a Dagster run that goes on may take to record its workflow run after that has ended."""


@dataclass(frozen=True)
class StatusSensorOptions:
    """How much the status sensor does in a tick.

    Attributes:
        max_seconds: no further page is read after this; a tick may take 60 s in Dagster.
        max_runs: no further page is read after so many runs.
        safety_lag_seconds: runs that ended less long ago are left for the next tick, since the list may lag behind;
            None for what suits the backend.
        lookback_seconds: with no usable cursor, runs that ended before are left out.
    """

    max_seconds: float = 30.0
    max_runs: int = 100_000
    safety_lag_seconds: float | None = None
    lookback_seconds: float = 86_400.0


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
    check of the blueprint's runs. The check of the blueprints themselves is evaluated when one has changed. Runs that
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
            tick = _Tick(context, resource.connect(), store, catalogue, presenter, judged_by, options)
            return tick.run(event_transformer_fn)
        except InfrastructureError as error:
            # Nothing is lost: the cursor stays where it is.
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=context.cursor)

    return flowcraft_status_sensor


@dataclass
class _Tick:
    """One look at what has finished."""

    context: dg.SensorEvaluationContext
    connection: Connection
    store: FlowcraftStoreResource
    catalogue: Catalogue
    presenter: Presenter
    limits: CheckLimits
    options: StatusSensorOptions
    figures: dict[str, RunFigures] = field(default_factory=dict)
    elsewhere: Counter[str] = field(default_factory=Counter)
    recorded: int = 0
    held: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def run(self, transform: EventTransformer | None) -> dg.SensorResult:
        cursor, reason = read_cursor(self.context.cursor)
        if reason is not None:
            self.context.log.warning(
                "the cursor is not used, since %s; runs of the last %d s are reported anew",
                reason,
                self.options.lookback_seconds,
            )
        try:
            cursor = cursor.begin(self.options.lookback_seconds)
            position, is_complete = self._read_pages(cursor)
        except (ValueError, TypeError):
            self.context.log.warning("the store does not know the cursor's place %r; starting anew", cursor.position)
            cursor = start_anew(self.context.cursor or "").begin(self.options.lookback_seconds)
            position, is_complete = self._read_pages(cursor)
        self._look_at_held(cursor)
        events: list[AssetEvent] = []
        if cursor.judged != self.catalogue.digest:
            events += [judge_blueprint(entry).to_evaluation() for entry in self.catalogue.entries.values()]
        for blueprint_id, figures in self.figures.items():
            reported = self._report(blueprint_id, figures, cursor.batch_id)
            if transform is not None:
                reported = list(transform(self.context, blueprint_id, figures.latest, reported))
            events += reported
        return dg.SensorResult(
            asset_events=events,
            cursor=cursor.advance(position, self.held, self.catalogue.digest).write(),
            skip_reason=self._sum_up(is_complete),
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def _read_pages(self, cursor: StatusCursor) -> tuple[str | None, bool]:
        """Count what has finished since; returns where to go on, and whether everything was read."""
        now = time.time()
        until = now - self.connection.choose_lag(self.options.safety_lag_seconds)
        position, seen = cursor.position, 0
        while seen < self.options.max_runs and time.monotonic() - self.began < self.options.max_seconds:
            page = self.store.scan_finished_runs(position, until, PAGE)
            for header in page.headers:
                if (header.finished_at or now) >= (cursor.since or 0.0):
                    self._take(header)
            seen += len(page.headers)
            if not page.headers and page.cursor == position:
                return position, True
            position = page.cursor
        return position, False

    def _look_at_held(self, cursor: StatusCursor) -> None:
        for run_id, finished_at in cursor.held.items():
            header = self.store.read_run(run_id)
            if header is None:
                continue
            is_late = time.time() - finished_at > HOLD_SECONDS
            if self._is_recorded(header):
                self.recorded += 1
            elif is_late or not self._may_be_recorded(header):
                self._count(header)
            else:
                self.held[run_id] = finished_at

    def _take(self, header: RunHeader) -> None:
        if header.blueprint_id not in self.catalogue.entries:
            self.elsewhere[header.blueprint_id] += 1
        elif RECORDER_TAG not in header.tags:
            self._count(header)
        elif self._is_recorded(header):
            self.recorded += 1
        elif self._may_be_recorded(header) and len(self.held) < MOST_HELD:
            self.held[header.run_id] = header.finished_at or time.time()
        else:
            self._count(header)

    def _count(self, header: RunHeader) -> None:
        self.figures.setdefault(header.blueprint_id, RunFigures()).add(header)

    def _is_recorded(self, header: RunHeader) -> bool:
        """Whether the Dagster run that started it has recorded it on the asset."""
        key = self.catalogue.find_key(header.blueprint_id)
        if key is None:
            return False
        # A minute for clocks that differ.
        asked = dg.AssetRecordsFilter(asset_key=key, after_timestamp=header.started_at - 60)
        for record in self.context.instance.fetch_materializations(asked, limit=500).records:
            event = record.asset_materialization
            recorded_by = record.run_id == header.tags[RECORDER_TAG]
            if recorded_by and event is not None and RUN_ID in event.metadata:
                names_it = event.metadata[RUN_ID].value == header.run_id
                if names_it:
                    return True
        return False

    def _may_be_recorded(self, header: RunHeader) -> bool:
        run = self.context.instance.get_run_by_id(header.tags[RECORDER_TAG])
        return run is not None and not run.is_finished

    # -- reporting -----------------------------------------------------------------------------------------------

    def _report(self, blueprint_id: str, figures: RunFigures, batch_id: str) -> list[AssetEvent]:
        entry = self.catalogue.entries[blueprint_id]
        metadata: dict[str, Any] = {
            BATCH_ID: batch_id,
            **self.presenter.describe_figures(figures),
            **self._describe_latest(figures),
            **self._describe_failures(figures),
        }
        # An asset is green after a materialization, so there is none where nothing completed.
        kind = dg.AssetMaterialization if figures.statuses[COMPLETED] else dg.AssetObservation
        description = _count_in_words(figures.statuses)
        events: list[AssetEvent] = [kind(asset_key=entry.key, description=description, metadata=metadata)]
        events.append(judge_runs(self.connection, entry, self.presenter, self.limits).to_evaluation())
        return events

    def _describe_latest(self, figures: RunFigures) -> dict[str, Any]:
        for header in reversed([header for header in figures.latest if header.status == COMPLETED]):
            found = self._load(header)
            if found is not None:
                result, blueprint = found
                picture = self.presenter.show_run(result, blueprint)
                return {
                    "latest_run": header.run_id,
                    "latest_outputs": self.presenter.show_value("outputs", result.outputs),
                    **({"latest_picture": dg.MetadataValue.md(picture)} if picture else {}),
                }
        return {}

    def _describe_failures(self, figures: RunFigures) -> dict[str, Any]:
        if not figures.unsuccessful:
            return {}
        loaded = [self._load(header) for header in reversed(figures.unsuccessful[-MOST_FAILURES_READ:])]
        results = [found[0] for found in loaded if found is not None]
        nodes = Counter(error.node_id for result in results for error in result.errors if not error.handled)
        return {
            "latest_failures": self.presenter.tabulate_failures(results),
            "failures_by_node": dg.MetadataValue.json(dict(nodes.most_common())),
        }

    def _load(self, header: RunHeader) -> tuple[RunResult, Blueprint] | None:
        """A run with all there is to it; None where it is gone, or where the tick has no time left."""
        if time.monotonic() - self.began > self.options.max_seconds + DETAIL_SECONDS:
            return None
        client = self.connection.client
        try:
            blueprint = client.call(client.asynchronous.find_blueprint(header))
            return client.result(header.run_id), blueprint
        except InfrastructureError:
            raise
        except FlowcraftError as error:
            self.context.log.warning("run %s cannot be shown: %s", header.run_id, error)
            return None

    def _sum_up(self, is_complete: bool) -> str:
        total: Counter[str] = Counter()
        for figures in self.figures.values():
            total += figures.statuses
        parts = [f"{_count_in_words(total)} of {len(self.figures)} blueprints" if total else "no run has ended since"]
        if self.recorded:
            parts.append(f"{self.recorded} recorded by their Dagster runs")
        if self.held:
            parts.append(f"{len(self.held)} left to their Dagster runs")
        if self.elsewhere:
            parts.append(f"{self.elsewhere.total()} of blueprints that this location does not have")
        if not is_complete:
            parts.append("more next time")
        return "; ".join(parts)


def _count_in_words(statuses: Mapping[str, int]) -> str:
    """For example ``41 completed, 2 failed``."""
    order = {COMPLETED: 0, FAILED: 1}
    known = sorted(statuses.items(), key=lambda pair: (order.get(pair[0], 2), pair[0]))
    return ", ".join(f"{count} {status}" for status, count in known if count)
