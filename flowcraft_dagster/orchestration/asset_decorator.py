"""``@flowcraft_assets``: a workflow as the body of Dagster assets."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg
from dagster import AssetExecutionContext

from flowcraft_dagster.errors import WaitTimeout
from flowcraft_dagster.orchestration.following import (
    cancelled_with_dagster_run,
    choose_run_id,
    follow_run,
    make_tags,
    retried,
)
from flowcraft_dagster.orchestration.labels import CLIENT_KEY
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import make_slug
from flowcraft_dagster.ports.records import COMPLETED, RunHeader
from flowcraft_dagster.runtime.result import RunResult

DAGSTER_NAME: Final = "dagster"
"""Name in the workflow's context under which it finds the Dagster run, its tags and its partition."""

ContextMaker = Callable[..., Mapping[str, Any]]


def flowcraft_assets(
    *,
    blueprint_id: str,
    name: str | None = None,
    outputs: Mapping[str, str] | None = None,
    specs: Sequence[dg.AssetSpec] | None = None,
    group_name: str | None = None,
    ins: Mapping[str, dg.AssetIn] | None = None,
    partitions_def: "dg.PartitionsDefinition[Any] | None" = None,
    pool: str | None = None,
    timeout_seconds: float = 3600.0,
    cancel_workflow: bool = True,
    presenter: Presenter | None = None,
    resource_key: str = CLIENT_KEY,
) -> Callable[[ContextMaker], dg.AssetsDefinition]:
    """Decorator for a function that makes the initial context of a workflow from upstream assets.

    Materializing starts a run of the blueprint, waits for it, and hands its outputs on through the IO manager. The
    function's parameters are upstream assets and resources, as for :func:`dagster.multi_asset`. The workflow finds
    the Dagster run's id, tags and partition in its context under ``dagster``.

    Args:
        blueprint_id: the blueprint to run.
        name: the op's name; the function's when None.
        outputs: node ids, or names of context values, by asset key (parts joined by ``/``). By default there is one
            asset with the function's name, whose value is the object of all nodes' outputs.
        specs: descriptions of the assets; plain ones are made for keys that have none.
        group_name: group of assets without a spec.
        ins: see :func:`dagster.multi_asset`.
        partitions_def: partitions of all the assets.
        pool: Dagster's limit of concurrent steps.
        timeout_seconds: how long to wait; the run goes on afterwards.
        cancel_workflow: whether cancelling the Dagster run cancels the workflow too.
        presenter: shows results; the default one when None.
        resource_key: of the :class:`FlowcraftClientResource`.

    Raises:
        ValueError: a spec has a key that ``outputs`` does not have.

    Example:
        >>> @flowcraft_assets(blueprint_id="content-moderation", outputs={"decision": "triage_post"})
        ... def moderation(post: dict) -> dict:
        ...     return {"userId": post["user"], "userPost": post["text"]}
        ... # doctest: +SKIP
    """
    shown = presenter or Presenter()

    def decorate(make_context: ContextMaker) -> dg.AssetsDefinition:
        op_name = name or make_context.__name__
        sources = {dg.AssetKey.from_user_string(key): source for key, source in (outputs or {op_name: ""}).items()}
        described = _describe(sources, specs, group_name)

        @functools.wraps(make_context)
        def run(*arguments: Any, **named: Any) -> Iterator[dg.MaterializeResult[Any]]:
            context = AssetExecutionContext.get()
            given = dict(make_context(*arguments, **named))
            given.setdefault(DAGSTER_NAME, _describe_dagster_run(context))
            resource: FlowcraftClientResource = getattr(context.resources, resource_key)
            with retried(context.op_execution_context):
                result, metadata = _run(
                    context,
                    resource,
                    blueprint_id,
                    given,
                    f"-{make_slug(op_name, '-')}",
                    timeout_seconds,
                    cancel_workflow,
                    shown,
                )
            yield from _hand_over(context, result, metadata, sources)

        # The wrapped function's result is a context, this one's are the assets.
        run.__annotations__ = {key: kind for key, kind in make_context.__annotations__.items() if key != "return"}
        definition: dg.AssetsDefinition = dg.multi_asset(
            name=op_name,
            outs={
                spec.key.to_python_identifier(): dg.AssetOut.from_spec(
                    spec,
                    dagster_type=dg.Any,
                    # A node on a branch that was not taken has no output.
                    is_required=len(described) == 1,
                )
                for spec in described
            },
            ins=dict(ins) if ins else None,
            partitions_def=partitions_def,
            pool=pool,
            can_subset=len(described) > 1,
            required_resource_keys={resource_key},
        )(run)
        return definition

    return decorate


def _describe(
    sources: Mapping[dg.AssetKey, str], specs: Sequence[dg.AssetSpec] | None, group_name: str | None
) -> list[dg.AssetSpec]:
    given = {spec.key: spec for spec in specs or ()}
    unknown = [key.to_user_string() for key in given if key not in sources]
    if unknown:
        raise ValueError(f"specs without an entry in outputs: {', '.join(unknown)}")
    plain = {key: dg.AssetSpec(key, group_name=group_name, kinds={"flowcraft"}) for key in sources}
    return [{**plain, **given}[key] for key in sources]


def _describe_dagster_run(context: AssetExecutionContext) -> dict[str, Any]:
    described: dict[str, Any] = {"runId": context.run.run_id, "tags": dict(context.run.tags)}
    if context.has_partition_key:
        described["partitionKey"] = context.partition_key
    return described


def _run(
    context: AssetExecutionContext,
    resource: FlowcraftClientResource,
    blueprint_id: str,
    given: Mapping[str, Any],
    suffix: str,
    timeout_seconds: float,
    cancel_workflow: bool,
    presenter: Presenter,
) -> tuple[RunResult, dict[str, Any]]:
    client = resource.get_client()
    run_id = choose_run_id(context.instance, context.run, client, suffix)
    with cancelled_with_dagster_run(client, [run_id], context.log, cancel=cancel_workflow):
        # The status sensor counts it on the blueprint's own asset.
        tags = make_tags(context.run, records=False, cancel=cancel_workflow)
        client.start(blueprint_id, given, run_id=run_id, tags=tags)
        context.log.info("workflow run %s of blueprint '%s' started", run_id, blueprint_id)
        try:
            result = follow_run(client, run_id, timeout_seconds, context.log, presenter)
        except WaitTimeout as error:
            raise dg.Failure(f"{error}. It goes on.", allow_retries=False) from error
    header: RunHeader = client.status(run_id)
    blueprint = client.call(client.asynchronous.find_blueprint(header))
    metadata = presenter.describe_result(result, header, blueprint)
    if result.status != COMPLETED:
        raise dg.Failure(presenter.name_failure(result), metadata=metadata, allow_retries=False)
    return result, metadata


def _hand_over(
    context: AssetExecutionContext, result: RunResult, metadata: Mapping[str, Any], sources: Mapping[dg.AssetKey, str]
) -> Iterator[dg.MaterializeResult[Any]]:
    for key, source in sources.items():
        if key not in context.selected_asset_keys:
            continue
        if not source:
            yield dg.MaterializeResult(asset_key=key, value=dict(result.outputs), metadata=metadata)
        elif source in result.outputs or source in result.context:
            value = result.outputs[source] if source in result.outputs else result.context[source]
            yield dg.MaterializeResult(asset_key=key, value=value, metadata=metadata)
        elif len(sources) == 1:
            reason = f"run {result.run_id} has no output of '{source}': that branch was not taken"
            raise dg.Failure(reason, metadata=dict(metadata), allow_retries=False)
        else:
            # A branch that was not taken: the asset stays as it is, and what depends on it is skipped.
            context.log.info("run %s has no output of '%s'; %s is skipped", result.run_id, source, key.to_user_string())
