"""Reacting to the end of workflow runs: they complete, fail or are cancelled, and something is launched."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.errors import InfrastructureError, UnknownCursor
from flowcraft_dagster.orchestration.connection import ANSWER_SECONDS, Connection
from flowcraft_dagster.orchestration.figures import sum_up
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.labels import BLUEPRINT_TAG, CLIENT_KEY, RUN_ID_TAG, STATUS_TAG
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.status_cursor import StatusCursor, read_cursor, start_anew
from flowcraft_dagster.orchestration.status_reading import read_page
from flowcraft_dagster.ports.records import COMPLETED, FAILED, FINAL_STATUSES, RunHeader

FOLLOW_UP_JOB: Final = "follow_up_flowcraft_runs"
FOLLOW_UP_OP: Final = "follow_up_flowcraft_runs_op"
MOST_SECONDS: Final = 30.0

RequestMaker = Callable[
    [dg.SensorEvaluationContext, Sequence[RunHeader]], dg.RunRequest | Iterable[dg.RunRequest] | None
]
"""Takes the context and a group of finished runs; gives what to launch."""


def build_flowcraft_completion_sensor(
    *,
    name: str,
    job: Any = None,
    job_name: str | None = None,
    asset_selection: Any = None,
    blueprint_ids: Iterable[str] | None = None,
    statuses: Iterable[str] = (COMPLETED,),
    request_fn: RequestMaker | None = None,
    runs_per_request: int = 1,
    max_requests_per_tick: int = 25,
    with_children: bool = False,
    lookback_seconds: float = 0.0,
    safety_lag_seconds: float | None = None,
    minimum_interval_seconds: int = 15,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """A sensor that launches something when workflow runs end.

    A launched Dagster run takes seconds, so group frequent runs by ``runs_per_request``. A run of which the launch was
    capped comes with the next tick. With one run a request, the run key is the workflow run's id: it is launched
    once, whatever happens; a group may be launched again when a tick was interrupted.

    Args:
        name: the sensor's name.
        job: what to launch.
        job_name: the same by name, for a job that is defined elsewhere in the location.
        asset_selection: what to materialize, in place of a job.
        blueprint_ids: only runs of these; None for all.
        statuses: only runs that ended so: ``completed``, ``failed``, ``cancelled``.
        request_fn: makes the request for a group of runs, for example to fill in the config of the job; by default
            the request has tags that name the run.
        runs_per_request: how many runs go into one group.
        max_requests_per_tick: further groups wait for the next tick.
        with_children: whether runs of sub-flows count.
        lookback_seconds: at the first tick, runs that ended before are left out.
        safety_lag_seconds: runs that ended less long ago are left for the next tick, since the list may lag behind;
            None for what suits the backend.
        minimum_interval_seconds: between two ticks.
        default_status: whether it runs without a click.

    Raises:
        ValueError: a status is not final, or a number is below 1.

    Example:
        >>> sensor = build_flowcraft_completion_sensor(name="on_ban", job=notify, blueprint_ids=["ban-user"])
        ... # doctest: +SKIP
    """
    wanted = frozenset(statuses)
    if not wanted <= FINAL_STATUSES:
        raise ValueError(f"statuses are some of {', '.join(sorted(FINAL_STATUSES))}")
    if runs_per_request < 1 or max_requests_per_tick < 1:
        raise ValueError("runs_per_request and max_requests_per_tick are 1 or more")
    chosen = None if blueprint_ids is None else frozenset(blueprint_ids)

    def is_wanted(header: RunHeader) -> bool:
        return (
            header.status in wanted
            and (chosen is None or header.blueprint_id in chosen)
            and (with_children or header.parent is None)
        )

    @dg.sensor(
        name=name,
        job=job,
        job_name=job_name,
        asset_selection=asset_selection,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={CLIENT_KEY},
        description=f"Reacts to workflow runs that end {' or '.join(sorted(wanted))}.",
    )
    def completion_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, reason = read_cursor(context.cursor)
        if reason is not None:
            context.log.warning("the cursor is not used, since %s; only new runs are looked at", reason)
        resource: FlowcraftClientResource = getattr(context.resources, CLIENT_KEY)
        most = runs_per_request * max_requests_per_tick
        # Runs that ended since the sensor was switched on: its first tick comes an interval later.
        lookback = lookback_seconds + minimum_interval_seconds
        cursor = cursor.begin(lookback)
        try:
            connection = resource.connect(ANSWER_SECONDS)
            until = time.time() - connection.choose_lag(safety_lag_seconds)
            try:
                found, position = _read(connection, name, cursor, until, most, is_wanted)
            except UnknownCursor:
                context.log.warning("the store does not know the cursor's place; only new runs are looked at")
                cursor = start_anew(context.cursor or "").begin(lookback)
                found, position = _read(connection, name, cursor, until, most, is_wanted)
        except InfrastructureError as error:
            # With the moment from which runs count: an outage at the very beginning must not move it.
            return dg.SensorResult(skip_reason=f"{error}. The next tick tries again.", cursor=cursor.write())
        requests: list[dg.RunRequest] = []
        for first in range(0, len(found), runs_per_request):
            made = (request_fn or make_request)(context, found[first : first + runs_per_request])
            requests += [made] if isinstance(made, dg.RunRequest) else made or ()
        return dg.SensorResult(
            run_requests=requests or None,
            skip_reason=None if requests else f"no {' or '.join(sorted(wanted))} run to react to",
            cursor=cursor.advance(position).write(),
        )

    return completion_sensor


def make_request(context: dg.SensorEvaluationContext, runs: Sequence[RunHeader]) -> dg.RunRequest:
    """The default request for a group of runs: named by tags, without config."""
    first, last = runs[0], runs[-1]
    tags = {RUN_ID_TAG: first.run_id, BLUEPRINT_TAG: first.blueprint_id[:200], STATUS_TAG: first.status}
    key = first.run_id if len(runs) == 1 else f"{first.run_id}..{last.run_id}"
    return dg.RunRequest(run_key=key, tags=tags)


class FollowUpConfig(dg.Config):
    """Which runs to follow up."""

    run_ids: list[str] = Field(default=[], description="Workflow runs that have ended.")


def build_follow_up_job(presenter: Presenter) -> dg.JobDefinition:
    """An example of a follow-up: a digest of runs that have ended, in the step's metadata."""

    @dg.op(name=FOLLOW_UP_OP)
    def follow_up(context: OpExecutionContext, config: FollowUpConfig, flowcraft: FlowcraftClientResource) -> None:
        """Sums up workflow runs that have ended."""
        with retried(context):
            client = flowcraft.get_client()
            headers = [client.status(run_id) for run_id in config.run_ids]
            failed = [client.result(header.run_id) for header in headers if header.status == FAILED]
        for result in failed:
            context.log.warning("%s", presenter.name_failure(result))
        context.log.info("%d workflow runs have ended, %d of them failed", len(headers), len(failed))
        metadata: dict[str, Any] = presenter.describe_figures(sum_up(headers))
        context.add_output_metadata({**metadata, "failures": presenter.tabulate_failures(failed)})

    @dg.job(
        name=FOLLOW_UP_JOB,
        description="Sums up workflow runs that have ended; launched by a completion sensor.",
        executor_def=dg.in_process_executor,
    )
    def follow_up_flowcraft_runs() -> None:
        follow_up()

    return follow_up_flowcraft_runs


def build_follow_up_sensor(default_status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The example's sensor: one launch a tick for all runs that have completed or failed."""
    return build_flowcraft_completion_sensor(
        name="flowcraft_completion_sensor",
        job_name=FOLLOW_UP_JOB,
        statuses=(COMPLETED, FAILED),
        request_fn=request_follow_up,
        runs_per_request=200,
        max_requests_per_tick=1,
        minimum_interval_seconds=30,
        default_status=default_status,
    )


def request_follow_up(context: dg.SensorEvaluationContext, runs: Sequence[RunHeader]) -> dg.RunRequest:
    """The request of the example: the runs' ids go into the config of the op."""
    config = FollowUpConfig(run_ids=[run.run_id for run in runs])
    request = make_request(context, runs)
    return dg.RunRequest(
        run_key=request.run_key, tags=request.tags, run_config=dg.RunConfig(ops={FOLLOW_UP_OP: config})
    )


def _read(
    connection: Connection,
    asked_by: str,
    cursor: StatusCursor,
    until: float,
    most: int,
    is_wanted: Callable[[RunHeader], bool],
) -> tuple[list[RunHeader], str | None]:
    """Finished runs that are wanted, at most ``most``, and the place behind the last one."""
    found: dict[str, RunHeader] = {}
    position = cursor.position
    deadline = time.monotonic() + MOST_SECONDS
    while len(found) < most and time.monotonic() < deadline:
        # Never more than there is room for: what follows must stay behind the cursor.
        page = read_page(connection, asked_by, position, until, most - len(found))
        if not page.headers and page.cursor == position:
            break
        # By their ids: an end that was published by two workers at once may be listed twice.
        found |= {
            header.run_id: header
            for header in page.headers
            if (header.finished_at or until) >= (cursor.since or 0.0) and is_wanted(header)
        }
        position = page.cursor
    return list(found.values()), position
