"""Starting workflow runs from a Dagster run and following them: ids, log lines, interruption.

Cancelling a Dagster run raises a BaseException wherever its code waits; the workflow is cancelled then, or goes on, as
configured.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import dagster as dg
from dagster import OpExecutionContext

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, RunFinished, RunNotFound, WaitTimeout
from flowcraft_dagster.orchestration.labels import DAGSTER_RUN_TAG, KEEP_TAG, RECORDER_TAG
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.run_log import RunLog
from flowcraft_dagster.ports.records import CANCELLED, CANCELLING, FAILED
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.result import RunResult

LOOK_SECONDS: Final = 1.0
CANCELLED_AT_ONCE: Final = 100
"""Runs asked to end at the same time."""

START_SECONDS: Final = 0.5
"""How long a start that was interrupted may still take to be stored."""

MOST_NAMED: Final = 10
MOST_RETRIES: Final = 3
RETRY_SECONDS: Final = 5.0


def choose_run_id(instance: dg.DagsterInstance, run: dg.DagsterRun, client: Client, suffix: str = "") -> str:
    """The id of the workflow run that a Dagster run starts.

    It is made of the Dagster run's id, so that a retried op does not start a second workflow. A Dagster run that
    repeats one which did not succeed takes up that one's workflow, if it is still going or has completed.

    Args:
        instance: knows the repeated run.
        run: the present run.
        client: knows the workflows.
        suffix: tells several workflows of one Dagster run apart.

    Raises:
        InfrastructureError: the store is away.
    """
    known = [run.parent_run_id, run.root_run_id]
    for earlier_id in dict.fromkeys(run_id for run_id in known if run_id is not None):
        earlier = instance.get_run_by_id(earlier_id)
        if earlier is not None and earlier.status == dg.DagsterRunStatus.SUCCESS:
            continue
        try:
            status = client.status(earlier_id + suffix).status
        except RunNotFound:
            continue
        if status not in (FAILED, CANCELLED, CANCELLING):
            return earlier_id + suffix
    return run.run_id + suffix


def make_tags(run: dg.DagsterRun, *, records: bool, cancel: bool) -> dict[str, str]:
    """Labels of a workflow run that a Dagster run starts.

    Args:
        run: the Dagster run.
        records: whether it means to record the workflow run on its asset.
        cancel: whether the workflow run is cancelled together with it.
    """
    tags = {DAGSTER_RUN_TAG: run.run_id}
    if records:
        tags[RECORDER_TAG] = run.run_id
    return tags if cancel else {**tags, KEEP_TAG: "true"}


def follow_run(client: Client, run_id: str, timeout: float, log: logging.Logger, presenter: Presenter) -> RunResult:
    """Wait until a run has ended, and say in the log what its nodes do meanwhile.

    Args:
        client: asks for the run.
        run_id: the run.
        timeout: seconds.
        log: the Dagster run's log.
        presenter: redacts and cuts what nodes said.

    Raises:
        WaitTimeout: the run goes on.
        RunNotFound: there is no such run.
    """
    run_log = RunLog(client, log, presenter)
    deadline = time.monotonic() + timeout
    pause = LOOK_SECONDS
    while True:
        left = deadline - time.monotonic()
        try:
            result = client.wait(run_id, max(0.0, min(pause, left)))
        except WaitTimeout as error:
            if deadline - time.monotonic() <= 0:
                raise WaitTimeout(run_id=run_id, status=error.status, timeout_seconds=timeout) from error
            began = time.monotonic()
            try:
                run_log.report(client.result(run_id))
            except InfrastructureError as trouble:
                log.warning("%s", trouble)
            # Reading a long run takes a while: look at it less often, so that reading stays a tenth of the time.
            pause = max(LOOK_SECONDS, 10 * (time.monotonic() - began))
        else:
            try:
                run_log.report(result)
            except InfrastructureError as trouble:
                # Only lines about child runs are missing.
                log.warning("%s", trouble)
            return result


@contextmanager
def cancelled_with_dagster_run(
    client: Client, run_ids: Sequence[str], log: logging.Logger, *, cancel: bool = True
) -> Iterator[None]:
    """When the body is interrupted (the Dagster run is cancelled), cancel the workflow runs too.

    Errors are no interruption: they leave the runs alone.

    Args:
        client: asks them to end.
        run_ids: the runs; may be filled while the body runs.
        log: the Dagster run's log.
        cancel: False lets the workflows go on.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException:
        if cancel:
            _cancel(client, run_ids, log)
        elif run_ids:
            log.warning("the workflow goes on: %s", ", ".join(run_ids[:MOST_NAMED]))
        raise


@contextmanager
def retried(context: OpExecutionContext) -> Iterator[None]:
    """Repeats a step when a server is away; any other error of ours becomes a failure with the hint what to do.

    A retry policy on the op would do the first, but Dagster then repeats a step that was cancelled, too.

    Args:
        context: the step's.
    """
    try:
        yield
    except InfrastructureError as error:
        pause = RETRY_SECONDS * 2**context.retry_number
        raise dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=pause) from error
    except FlowcraftError as error:
        raise dg.Failure(f"{error}. {error.hint}".strip(), allow_retries=False) from error


def _cancel(client: Client, run_ids: Sequence[str], log: logging.Logger) -> None:
    """Ask runs to end. The interruption may have come while they were started, so unknown ones are looked for again."""
    try:
        asked, unknown = client.call(_ask_to_end(client.asynchronous, run_ids, log))
        if unknown:
            time.sleep(START_SECONDS)
            late, unknown = client.call(_ask_to_end(client.asynchronous, unknown, log))
            asked += late
    except FlowcraftError as error:
        log.warning("not all workflow runs could be cancelled: %s", error)
        return
    more = f" and {len(asked) - MOST_NAMED} more" if len(asked) > MOST_NAMED else ""
    log.warning("asked to end: %s%s", ", ".join(asked[:MOST_NAMED]) or "no workflow run, all had ended", more)


async def _ask_to_end(client: AsyncClient, run_ids: Sequence[str], log: logging.Logger) -> tuple[list[str], list[str]]:
    """Runs that were asked to end, and those that are not there."""

    async def ask(run_id: str) -> type[Exception] | None:
        try:
            await client.cancel(run_id, "its Dagster run was cancelled")
        except (RunFinished, RunNotFound) as error:
            return type(error)
        except FlowcraftError as error:
            log.warning("workflow run %s could not be cancelled and goes on: %s", run_id, error)
            return type(error)
        return None

    outcomes: list[type[Exception] | None] = []
    for first in range(0, len(run_ids), CANCELLED_AT_ONCE):
        outcomes += await asyncio.gather(*map(ask, run_ids[first : first + CANCELLED_AT_ONCE]))
    found = list(zip(run_ids, outcomes, strict=True))
    return [run_id for run_id, what in found if what is None], [run_id for run_id, what in found if what is RunNotFound]
