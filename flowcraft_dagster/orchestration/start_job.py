"""The op and job that start workflow runs: what the Launchpad offers."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster import OpExecutionContext
from pydantic import Field

from flowcraft_dagster.engine.json_codec import decode_strictly
from flowcraft_dagster.errors import WaitTimeout
from flowcraft_dagster.orchestration.blueprint_choice import (
    find_default,
    find_example,
    make_choice_field,
    match_blueprint_id,
)
from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import sum_up
from flowcraft_dagster.orchestration.following import (
    cancelled_with_dagster_run,
    choose_run_id,
    follow_run,
    make_tags,
    retried,
)
from flowcraft_dagster.orchestration.labels import RECORDER_TAG
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import COMPLETED
from flowcraft_dagster.runtime.client import StartRequest

JOB_NAME: Final = "start_flowcraft_runs"
OP_NAME: Final = "start_flowcraft_runs_op"
CHUNK: Final = 200
MOST_IDS_SHOWN: Final = 100
TELL_SECONDS: Final = 5.0
"""Between two lines about the progress of a batch."""


class StartFlowcraftRunsConfig(dg.Config):
    """What to start.

    Example:
        >>> config = StartFlowcraftRunsConfig(blueprint_id="content-moderation", context={"userId": "u1"})
        >>> dg.RunConfig(ops={"start_flowcraft_runs_op": config}).to_config_dict()["ops"].keys()
        dict_keys(['start_flowcraft_runs_op'])
    """

    blueprint_id: Any = Field(default="", description="The blueprint to run.")
    blueprint_id_other: Any = Field(
        default="",
        description="A blueprint that is not in the list, since it came after the location was loaded; goes before"
        " blueprint_id.",
    )
    context: dict[str, Any] = Field(
        default={},
        description="Initial context of the run, JSON. It is stored as it is: name secrets, never give them.",
    )
    contexts: list[dict[str, Any]] = Field(default=[], description="Contexts of a batch: one run each.")
    contexts_file: str = Field(
        default="", description="A file of contexts, a JSON object a line, where the code location runs: one run each."
    )
    run_id: str = Field(
        default="",
        description="Id of the run, 1 to 200 printable characters; the same id is the same run. Empty: the Dagster"
        " run's id. Runs of a batch add a dash and their number.",
    )
    wait: bool = Field(default=True, description="Whether to wait until the runs have ended and show their results.")
    timeout_seconds: float = Field(default=300.0, description="How long to wait; the runs go on afterwards.")
    cancel_workflow: bool = Field(
        default=True, description="Whether cancelling the Dagster run cancels the workflow runs that have not ended."
    )

    def list_contexts(self) -> list[Mapping[str, Any]] | None:
        """Contexts of the batch, or None for a single run.

        Raises:
            Failure: the file cannot be read, or a line is not a JSON object.
        """
        if not self.contexts and not self.contexts_file:
            return None
        lines = _read_lines(Path(self.contexts_file)) if self.contexts_file else ()
        return [*self.contexts, *lines]


def build_start_op(catalogue: Catalogue, presenter: Presenter, name: str = OP_NAME) -> dg.OpDefinition:
    """An op that starts runs, for jobs of your own. Its output is the list of run ids.

    Args:
        catalogue: the blueprints to choose from.
        presenter: shows results.
        name: the op's name.
    """
    blueprints = {blueprint_id: entry.blueprint for blueprint_id, entry in catalogue.entries.items()}
    fields = {
        **StartFlowcraftRunsConfig.to_fields_dict(),
        "blueprint_id": make_choice_field(blueprints, find_default(blueprints)),
    }

    @dg.op(
        name=name,
        config_schema=fields,
        out=dg.Out(list, description="Ids of the workflow runs."),
        description="Starts workflow runs. Repeating the step starts nothing twice.",
    )
    def start_runs(context: OpExecutionContext, flowcraft: FlowcraftClientResource) -> list[str]:
        config = StartFlowcraftRunsConfig(**context.op_config)
        with retried(context):
            starter = _Starter(context, flowcraft.connect(), config, catalogue, presenter)
            contexts = config.list_contexts()
            return starter.start_one() if contexts is None else starter.start_batch(contexts)

    return start_runs


def build_start_job(catalogue: Catalogue, presenter: Presenter) -> dg.JobDefinition:
    """The job of the Launchpad. Its config is filled in, so that it can be launched as it is."""
    start_op = build_start_op(catalogue, presenter)
    blueprints = {blueprint_id: entry.blueprint for blueprint_id, entry in catalogue.entries.items()}
    first = find_default(blueprints)
    offered: dict[str, Any] = {
        "blueprint_id": first or "",
        "context": find_example(blueprints[first]) if first else {},
        "wait": True,
        "timeout_seconds": 300.0,
    }

    @dg.job(
        name=JOB_NAME,
        description="Starts a run of a blueprint, or one for each context of a batch, and shows the result.",
        # Cheaper than a process a step: there is one step, and it only waits.
        executor_def=dg.in_process_executor,
        config={"ops": {OP_NAME: {"config": offered}}},
    )
    def start_flowcraft_runs() -> None:
        start_op()

    return start_flowcraft_runs


class _Starter:
    """One execution of the op."""

    def __init__(
        self,
        context: OpExecutionContext,
        connection: Connection,
        config: StartFlowcraftRunsConfig,
        catalogue: Catalogue,
        presenter: Presenter,
    ) -> None:
        self._context = context
        self._client = connection.client
        self._config = config
        self._catalogue = catalogue
        self._presenter = presenter
        chosen = config.blueprint_id if config.blueprint_id_other in ("", None) else config.blueprint_id_other
        self._blueprint_id = match_blueprint_id(chosen, connection.app.blueprints)
        self._dagster_run_id = context.run.run_id
        self._run_id = config.run_id or choose_run_id(context.instance, context.run, self._client)

    def start_one(self) -> list[str]:
        context, client, run_id = self._context, self._client, self._run_id
        tags = make_tags(context.run, records=self._config.wait, cancel=self._config.cancel_workflow)
        with self._cancelled_together([run_id]):
            client.start(self._blueprint_id, self._config.context, run_id=run_id, tags=tags)
            context.log.info("workflow run %s of blueprint '%s' started", run_id, self._blueprint_id)
            if not self._config.wait:
                context.add_output_metadata({"run_id": run_id, "status": client.status(run_id).status})
                return [run_id]
            try:
                result = follow_run(client, run_id, self._config.timeout_seconds, context.log, self._presenter)
            except WaitTimeout as error:
                raise dg.Failure(
                    f"{error}. It goes on; the status sensor records it when it ends.", allow_retries=False
                ) from error
        header = client.status(run_id)
        is_mine = header.tags.get(RECORDER_TAG) == self._dagster_run_id
        blueprint = client.call(client.asynchronous.find_blueprint(header))
        metadata = self._presenter.describe_result(result, header, blueprint, counts=is_mine)
        if result.status != COMPLETED:
            raise dg.Failure(self._presenter.name_failure(result), metadata=metadata, allow_retries=False)
        context.add_output_metadata(metadata)
        key = self._catalogue.find_key(header.blueprint_id)
        if key is not None and is_mine:
            context.log_event(dg.AssetMaterialization(asset_key=key, metadata=metadata))
        return [run_id]

    def start_batch(self, contexts: list[Mapping[str, Any]]) -> list[str]:
        context, client = self._context, self._client
        tags = make_tags(context.run, records=False, cancel=self._config.cancel_workflow)
        run_ids: list[str] = []
        planned: list[str] = []
        with self._cancelled_together(planned):
            for first in range(0, len(contexts), CHUNK):
                chunk = contexts[first : first + CHUNK]
                named = [f"{self._run_id}-{number}" for number in range(first, first + len(chunk))]
                # Before they start: an interruption may come while some of them are stored already.
                planned += named
                requests = [
                    StartRequest(self._blueprint_id, item, run_id, tags)
                    for run_id, item in zip(named, chunk, strict=True)
                ]
                run_ids += client.start_many(requests)
                context.log.info("%d of %d workflow runs started", len(run_ids), len(contexts))
            metadata: dict[str, Any] = {"started": len(run_ids), "run_ids": run_ids[:MOST_IDS_SHOWN]}
            if self._config.wait:
                metadata |= self._wait_for_all(run_ids)
        context.add_output_metadata(metadata)
        return run_ids

    def _wait_for_all(self, run_ids: list[str]) -> dict[str, Any]:
        deadline = time.monotonic() + self._config.timeout_seconds
        told_at = time.monotonic()
        unsuccessful = []
        for number, run_id in enumerate(run_ids):
            if time.monotonic() - told_at > TELL_SECONDS:
                told_at = time.monotonic()
                self._context.log.info("%d of %d runs have ended", number, len(run_ids))
            try:
                result = self._client.wait(run_id, max(0.0, deadline - time.monotonic()))
            except WaitTimeout as error:
                raise dg.Failure(
                    f"{len(run_ids) - number} of {len(run_ids)} runs have not ended after"
                    f" {self._config.timeout_seconds:g} s. They go on; the status sensor records them.",
                    allow_retries=False,
                ) from error
            if result.status != COMPLETED:
                unsuccessful.append(result)
        metadata = self._presenter.describe_figures(sum_up(self._client.status(run_id) for run_id in run_ids))
        if unsuccessful:
            metadata["failures"] = self._presenter.tabulate_failures(unsuccessful[:MOST_IDS_SHOWN])
            raise dg.Failure(
                f"{len(unsuccessful)} of {len(run_ids)} runs did not complete; the first:"
                f" {self._presenter.name_failure(unsuccessful[0])}",
                metadata=metadata,
                allow_retries=False,
            )
        return metadata

    def _cancelled_together(self, run_ids: list[str]) -> Any:
        return cancelled_with_dagster_run(self._client, run_ids, self._context.log, cancel=self._config.cancel_workflow)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _read_line(path, number, line)
    except OSError as error:
        raise dg.Failure(f"contexts_file '{path}' cannot be read: {error.strerror}", allow_retries=False) from error


def _read_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        document = decode_strictly(line)
    except (ValueError, RecursionError) as error:
        reason = f"contexts_file '{path}', line {number}: is not JSON: {error}"
        raise dg.Failure(reason, allow_retries=False) from None
    if not isinstance(document, dict):
        raise dg.Failure(f"contexts_file '{path}', line {number}: is not a JSON object", allow_retries=False)
    return document
