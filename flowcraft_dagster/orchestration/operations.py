"""Operator's jobs: answer, cancel, retry, replay dead letters, and a bounded worker."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from typing import Any, Final

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import RunError, RunFinished, RunNotFound
from flowcraft_dagster.orchestration.figures import tabulate
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.worker_resource import FlowcraftWorkerResource
from flowcraft_dagster.ports.records import FAILED, LIVE_STATUSES, RunQuery
from flowcraft_dagster.runtime.requests import replay_letter

RESUME_JOB: Final = "resume_flowcraft_run"
CANCEL_JOB: Final = "cancel_flowcraft_runs"
RETRY_JOB: Final = "retry_flowcraft_runs"
REPLAY_JOB: Final = "replay_dead_letters"
DRAIN_JOB: Final = "flowcraft_drain_job"
MOST_SHOWN: Final = 100


class ResumeConfig(dg.Config):
    """An answer to a run that waits."""

    run_id: str = Field(description="The run.")
    node: str = Field(description="The node that waits; 'parentNode/childNode' in a sub-flow, or an activation key.")
    output: Any = Field(default=None, description="Becomes the node's output, JSON.")
    has_output: bool = Field(default=True, description="False leaves the node without an output.")
    action: str = Field(default="", description="Chooses the edges that are followed; empty for none.")


class CancelConfig(dg.Config):
    """Which runs to end."""

    run_ids: list[str] = Field(default=[], description="Runs by id.")
    blueprint_id: str = Field(default="", description="All runs of this blueprint that have not ended.")
    limit: int = Field(default=1000, description="How many runs of the blueprint at most.")
    reason: str = Field(default="cancelled by an operator", description="Is kept with the run.")


class RetryConfig(dg.Config):
    """Which runs to go on with."""

    run_ids: list[str] = Field(default=[], description="Failed or cancelled runs by id.")
    blueprint_id: str = Field(default="", description="All failed runs of this blueprint.")
    since_seconds: float = Field(default=86_400.0, description="Of the blueprint: only those that ended so recently.")
    limit: int = Field(default=100, description="Of the blueprint: how many at most, the latest.")


class ReplayConfig(dg.Config):
    """Which dead letters to send again."""

    letter_ids: list[str] = Field(default=[], description="Dead letters by id; empty for all of them.")
    limit: int = Field(default=1000, description="How many at most when all are sent.")


class DrainConfig(dg.Config):
    """How long to work."""

    max_jobs: int = Field(default=0, description="Messages that are taken from the queue; 0 for as many as there are.")
    max_seconds: float = Field(default=60.0, description="No new work after this; running nodes may end.")
    idle_seconds: float = Field(default=1.0, description="Ends when there was nothing to do for so long.")


def build_operator_jobs() -> list[dg.JobDefinition]:
    """All jobs for operators."""
    return [
        _build_resume_job(),
        _build_cancel_job(),
        _build_retry_job(),
        _build_replay_job(),
        _build_drain_job(),
    ]


def _build_resume_job() -> dg.JobDefinition:
    @dg.op(name="resume_flowcraft_run_op")
    def resume(context: OpExecutionContext, config: ResumeConfig, flowcraft: FlowcraftClientResource) -> None:
        """Answers a node that waits."""
        with retried(context):
            activation = flowcraft.get_client().resume(
                config.run_id,
                config.node,
                output=config.output if config.has_output else UNDEFINED,
                action=config.action or None,
                # A repeated step gives the same answer, not a second one.
                request_id=f"dagster-{context.run.run_id}",
            )
        context.log.info("answered '%s' of run %s", activation, config.run_id)
        context.add_output_metadata({"run_id": config.run_id, "activation": activation})

    @dg.job(name=RESUME_JOB, description="Answers a run that waits.", executor_def=dg.in_process_executor)
    def resume_flowcraft_run() -> None:
        resume()

    return resume_flowcraft_run


def _build_cancel_job() -> dg.JobDefinition:
    @dg.op(name="cancel_flowcraft_runs_op")
    def cancel(context: OpExecutionContext, config: CancelConfig, flowcraft: FlowcraftClientResource) -> None:
        """Asks runs to end."""
        asked, ended = 0, 0
        unknown: list[str] = []
        with retried(context):
            client = flowcraft.get_client()
            run_ids = list(config.run_ids)
            if config.blueprint_id:
                query = RunQuery(statuses=LIVE_STATUSES, blueprint_id=config.blueprint_id, limit=config.limit)
                run_ids += [header.run_id for header in client.runs(query)]
            for run_id in dict.fromkeys(run_ids):
                try:
                    client.cancel(run_id, config.reason)
                    asked += 1
                except RunFinished:
                    ended += 1
                except RunNotFound:
                    unknown.append(run_id)
        context.log.info("%d runs asked to end, %d had ended", asked, ended)
        context.add_output_metadata({"asked": asked, "had_ended": ended, **_name(unknown=unknown)})
        if unknown:
            raise dg.Failure(f"no such run: {', '.join(unknown[:10])}", allow_retries=False)

    @dg.job(name=CANCEL_JOB, description="Asks runs to end.", executor_def=dg.in_process_executor)
    def cancel_flowcraft_runs() -> None:
        cancel()

    return cancel_flowcraft_runs


def _build_retry_job() -> dg.JobDefinition:
    @dg.op(name="retry_flowcraft_runs_op", out=dg.Out(list, description="Ids of the new runs."))
    def retry(context: OpExecutionContext, config: RetryConfig, flowcraft: FlowcraftClientResource) -> list[str]:
        """Starts new runs that keep what failed runs committed and go on from what failed."""
        started: dict[str, str] = {}
        refused: list[str] = []
        with retried(context):
            client = flowcraft.get_client()
            run_ids = list(config.run_ids)
            if config.blueprint_id:
                query = RunQuery(
                    statuses=frozenset({FAILED}),
                    blueprint_id=config.blueprint_id,
                    since=time.time() - config.since_seconds,
                    limit=config.limit,
                )
                run_ids += [header.run_id for header in client.runs(query)]
            for run_id in dict.fromkeys(run_ids):
                try:
                    # The new id is derived from the old one, so a repeated step starts nothing twice.
                    started[run_id] = client.retry(run_id)
                    context.log.info("run %s goes on as %s", run_id, started[run_id])
                except RunError as error:
                    refused.append(str(error))
        rows = [{"run": old, "goes_on_as": new} for old, new in started.items()]
        runs = tabulate(dict.fromkeys(("run", "goes_on_as"), "string"), rows[:MOST_SHOWN])
        context.add_output_metadata({"started": len(started), "runs": runs, **_name(refused=refused)})
        if refused:
            raise dg.Failure("; ".join(refused[:10]), allow_retries=False)
        return list(started.values())

    @dg.job(
        name=RETRY_JOB,
        description="Goes on with failed or cancelled runs as new runs; the ended ones never change.",
        executor_def=dg.in_process_executor,
    )
    def retry_flowcraft_runs() -> None:
        retry()

    return retry_flowcraft_runs


def _build_replay_job() -> dg.JobDefinition:
    @dg.op(name="replay_dead_letters_op")
    def replay(context: OpExecutionContext, config: ReplayConfig, flowcraft: FlowcraftClientResource) -> None:
        """Sends dead letters to the queue they came from."""
        with retried(context):
            connection = flowcraft.connect()
            store, client = connection.backend.dead_letters, connection.client.asynchronous
            if config.letter_ids:
                found = [connection.call(store.read_letter(letter_id)) for letter_id in config.letter_ids]
                unknown = [
                    letter_id for letter_id, letter in zip(config.letter_ids, found, strict=True) if letter is None
                ]
                letters = [letter for letter in found if letter is not None]
            else:
                unknown, letters = [], list(connection.call(store.list_letters(config.limit)))
            # The newest come first in a listing; they are sent in the order in which they came.
            for letter in sorted(letters, key=lambda letter: letter.at):
                connection.call(replay_letter(client, letter))
                context.log.info("sent %s again", letter.letter_id)
        context.add_output_metadata({"replayed": len(letters), **_name(unknown=unknown)})
        if unknown:
            raise dg.Failure(f"no such dead letter: {', '.join(unknown[:10])}", allow_retries=False)

    @dg.job(name=REPLAY_JOB, description="Sends dead letters again.", executor_def=dg.in_process_executor)
    def replay_dead_letters() -> None:
        replay()

    return replay_dead_letters


def _build_drain_job() -> dg.JobDefinition:
    @dg.op(name="flowcraft_drain_op")
    def drain(context: OpExecutionContext, config: DrainConfig, flowcraft_worker: FlowcraftWorkerResource) -> None:
        """Works until nothing is left, or the time is up."""
        with retried(context):
            report = flowcraft_worker.drain(config.max_jobs or None, config.max_seconds, config.idle_seconds)
        context.log.info(
            "%s after %.1f s, %d messages left", "idle" if report.is_idle else "stopped", report.seconds, report.left
        )
        context.add_output_metadata(
            {
                "seconds": round(report.seconds, 2),
                "jobs": report.jobs,
                "left": report.left,
                "idle": report.is_idle,
                **report.counters,
            }
        )

    @dg.job(
        name=DRAIN_JOB,
        description="A worker inside a Dagster run, for small set-ups without worker processes.",
        executor_def=dg.in_process_executor,
    )
    def flowcraft_drain_job() -> None:
        drain()

    return flowcraft_drain_job


def _name(**lists: list[str]) -> dict[str, list[str]]:
    """Lists as metadata, without empty ones: they would only be something to click on."""
    return {name: values[:MOST_SHOWN] for name, values in lists.items() if values}
