"""What becomes of workflows whose Dagster run was killed: a killed run cannot cancel them itself.

Dagster's own sensors for the status of runs pass over a run for ever when their function fails, for example since a
server is away. So this is a plain sensor with a cursor of its own: what it could not do comes again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import dagster as dg
import orjson

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, RunFinished
from flowcraft_dagster.orchestration.connection import ANSWER_SECONDS
from flowcraft_dagster.orchestration.labels import CLIENT_KEY, DAGSTER_RUN_TAG, KEEP_TAG
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.ports.records import CANCELLING, RunHeader
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.live_runs import read_live_runs

VERSION: Final = 1
LOOKBACK_SECONDS: Final = 86_400.0
"""Without a usable cursor; asking a run to end twice does no harm."""
PAGE: Final = 1000
CANCEL_SECONDS: Final = 20.0
"""No further workflow run is asked to end in a tick after this."""
MOST_CHANGES: Final = 200
"""Dagster runs that are looked at in a tick."""

WATCHED: Final = {"failed": dg.DagsterEventType.RUN_FAILURE, "cancelled": dg.DagsterEventType.RUN_CANCELED}


def build_flowcraft_run_failure_sensor(
    *,
    jobs: Sequence[Any] | None = None,
    name: str = "flowcraft_run_failure_sensor",
    minimum_interval_seconds: int = 15,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """A sensor that cancels the workflows of Dagster runs that were killed, or cancelled by force.

    A Dagster run whose step ended by itself has decided about its workflow: one that only ran out of time lets it go
    on. So only runs without a failed step count, and workflows that were started with ``cancel_workflow: false`` are
    kept. A killed process is noticed by the code server that started it; when that is gone too, only by run monitoring
    (``run_monitoring`` in ``dagster.yaml``): where the launcher can be asked whether a process lives, or else after
    ``max_runtime_seconds``. Runs that ended before the sensor was switched on are left alone.

    Args:
        jobs: whose runs to watch, definitions or names; None for all.
        name: the sensor's name.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs without a click.
    """
    names = None if jobs is None else {job if isinstance(job, str) else str(job.name) for job in jobs}

    @dg.sensor(
        name=name,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={CLIENT_KEY},
        description="Cancels workflow runs whose Dagster run was killed or cancelled by force.",
    )
    def flowcraft_run_failure_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, reason = read_cursor(context.cursor)
        if reason is not None:
            context.log.warning("the cursor is not used, since %s; Dagster runs of the last day are looked at", reason)
        # Runs that ended since the sensor was switched on: its first tick comes an interval later.
        lookback = minimum_interval_seconds if reason is None else LOOKBACK_SECONDS
        cursor = cursor.begin(context.instance, time.time() - lookback)
        changes = _find_changes(context.instance, cursor, names)
        if not changes.run_ids:
            return dg.SensorResult(skip_reason=changes.say_none(), cursor=changes.after.write())
        resource: FlowcraftClientResource = getattr(context.resources, CLIENT_KEY)
        try:
            connection = resource.connect(ANSWER_SECONDS)
            found = connection.ask(
                f"the list of live runs, asked for by {name},",
                # Further runs may have failed by the time of the answer; it is about those of now.
                tuple(sorted(cursor.places.items())),
                lambda: _find_workflows(connection.backend.index, changes),
            )
            done, is_complete = _cancel_workflows(context, connection.client, found)
        except InfrastructureError as error:
            # Asking a run to end twice does no harm, so the next tick begins where this one did.
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=cursor.write())
        after = found.changes.after if is_complete else cursor
        return dg.SensorResult(skip_reason=done, cursor=after.write())

    return flowcraft_run_failure_sensor


@dataclass(frozen=True)
class FailureCursor:
    """How far the ends of Dagster runs have been looked at.

    Attributes:
        places: the last event that was seen, by what it says: ``failed`` or ``cancelled``.
    """

    places: Mapping[str, int] = field(default_factory=dict)

    def begin(self, instance: dg.DagsterInstance, since: float) -> FailureCursor:
        """The same place; at the very beginning before what happened at that moment, seconds since 1970 UTC."""
        return (
            self
            if self.places
            else FailureCursor({name: _find(instance, kind, since) for name, kind in WATCHED.items()})
        )

    def write(self) -> str:
        """The cursor as text for Dagster."""
        return orjson.dumps({"version": VERSION, "places": dict(self.places)}).decode()


def read_cursor(text: str | None) -> tuple[FailureCursor, str | None]:
    """Read what :meth:`FailureCursor.write` wrote.

    Returns:
        The cursor, and None or why it was not usable: then it stands at the very beginning.
    """
    if not text:
        return FailureCursor(), None
    try:
        document = orjson.loads(text)
        if document["version"] == VERSION:
            return FailureCursor({name: int(document["places"][name]) for name in WATCHED}), None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return FailureCursor(), "it cannot be read"
    return FailureCursor(), f"it has version {document['version']}, not {VERSION}"


@dataclass(frozen=True)
class _Changes:
    """Dagster runs that have ended badly since, and the place behind them.

    Attributes:
        run_ids: those that may have left workflows behind.
        decided: how many others ended by a step of their own, which has decided about its workflow.
        after: the place behind all of them.
    """

    run_ids: frozenset[str]
    decided: int
    after: FailureCursor

    def say_none(self) -> str:
        """What the tick says when there is nothing to do."""
        if not self.decided:
            return "no Dagster run has failed since"
        return f"{self.decided} Dagster runs have failed, all by themselves: they have decided about their workflows"


@dataclass(frozen=True)
class _Workflows:
    """Live workflow runs that the ended Dagster runs have started."""

    changes: _Changes
    headers: tuple[RunHeader, ...]


def _find(instance: dg.DagsterInstance, kind: dg.DagsterEventType, since: float) -> int:
    """The place before the first event after a moment, or behind the last one."""
    asked = dg.RunStatusChangeRecordsFilter(event_type=kind, after_timestamp=since)  # type: ignore[arg-type]
    found = instance.fetch_run_status_changes(asked, limit=1, ascending=True).records
    if found:
        return int(found[0].storage_id) - 1
    last = instance.fetch_run_status_changes(kind, limit=1).records
    return int(last[0].storage_id) if last else 0


def _find_changes(instance: dg.DagsterInstance, cursor: FailureCursor, names: Collection[str] | None) -> _Changes:
    found: set[str] = set()
    decided = 0
    places = dict(cursor.places)
    for name, kind in WATCHED.items():
        asked = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=places[name])  # type: ignore[arg-type]
        records = instance.fetch_run_status_changes(asked, limit=MOST_CHANGES, ascending=True).records
        for record in records:
            job = record.event_log_entry.job_name
            if names is not None and job not in names:
                continue
            if kind == dg.DagsterEventType.RUN_FAILURE and _has_failed_step(instance, record.run_id):
                decided += 1
            else:
                found.add(record.run_id)
        if records:
            places[name] = records[-1].storage_id
    return _Changes(frozenset(found), decided, replace(cursor, places=places))


async def _find_workflows(index: RunIndex, changes: _Changes) -> _Workflows:
    found = [
        header
        async for headers in read_live_runs(index, PAGE)
        for header in headers
        if header.parent is None and header.tags.get(DAGSTER_RUN_TAG) in changes.run_ids
    ]
    return _Workflows(changes, tuple(found))


def _cancel_workflows(
    context: dg.SensorEvaluationContext, client: Client, found: _Workflows
) -> tuple[str, bool]:
    """Ask workflow runs to end; says in a line what was done, and whether it was everything."""
    deadline = time.monotonic() + CANCEL_SECONDS
    asked = kept = late = 0
    for header in found.headers:
        if KEEP_TAG in header.tags:
            kept += 1
        elif header.status == CANCELLING:
            continue
        elif time.monotonic() > deadline:
            late += 1
        else:
            asked += _ask_to_end(context, client, header.run_id)
    changes = found.changes
    done = f"{len(changes.run_ids)} Dagster runs have failed: asked {asked} workflow runs to end, kept {kept}"
    done += f"; {changes.decided} more had ended by themselves" if changes.decided else ""
    return (f"{done}; {late} more next time", False) if late else (done, True)


def _has_failed_step(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a step of the Dagster run ended by itself, and so has decided about its workflow."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return False
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name)
    with dg.build_run_status_sensor_context("ended", event, instance, run) as context:
        return bool(context.for_run_failure().get_step_failure_events())


def _ask_to_end(context: dg.SensorEvaluationContext, client: Client, run_id: str) -> bool:
    try:
        client.cancel(run_id, "its Dagster run was killed")
    except RunFinished:
        return False
    except InfrastructureError:
        raise
    except FlowcraftError as error:
        context.log.warning("run %s cannot be cancelled: %s", run_id, error)
        return False
    return True
