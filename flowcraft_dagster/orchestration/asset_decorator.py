"""``@flowcraft_assets``: a workflow as the body of Dagster assets."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg
from dagster import AssetExecutionContext

from flowcraft_dagster.errors import RunConflict, WaitTimeout
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
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.result import RunResult

SYSTEM_TAGS: Final = ("dagster/", ".dagster/")
"""Dagster's own tags differ between a run and one that repeats it."""
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
    deps: Iterable[Any] | None = None,
    partitions_def: "dg.PartitionsDefinition[Any] | None" = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    pool: str | None = None,
    timeout_seconds: float = 3600.0,
    cancel_workflow: bool = True,
    presenter: Presenter | None = None,
    resource_key: str = CLIENT_KEY,
) -> Callable[[ContextMaker], dg.AssetsDefinition]:
    """Decorator for a function that makes the initial context of a workflow from upstream assets.

    Materializing starts a run of the blueprint, waits for it, and hands its outputs on through the IO manager. The
    function's parameters are upstream assets, resources and the context, as for :func:`dagster.multi_asset`. The
    workflow finds the id of the Dagster run that started it, that run's own tags and its partition in its context
    under ``dagster``: ``{"runId", "tags", "partitionKey"}``, or ``"partitionKeyRange": {"start", "end"}`` for many.

    A Dagster run that repeats one which did not succeed takes up that one's workflow where the function makes the same
    context, and starts a new one otherwise.

    Args:
        blueprint_id: the blueprint to run.
        name: the op's name; the function's when None.
        outputs: node ids, or names of context values, by asset key (parts joined by ``/``). By default there is one
            asset with the function's name, whose value is the object of all nodes' outputs.
        specs: descriptions of the assets; plain ones are made for keys that have none.
        group_name: group of assets without a spec.
        ins: see :func:`dagster.multi_asset`.
        deps: assets that come first and hand nothing on.
        partitions_def: partitions of all the assets.
        backfill_policy: how many partitions one Dagster run takes.
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

        takes_client = resource_key in inspect.signature(make_context).parameters

        @functools.wraps(make_context)
        def run(*arguments: Any, **named: Any) -> Iterator[dg.MaterializeResult[Any]]:
            context = AssetExecutionContext.get()
            resource: FlowcraftClientResource = named[resource_key] if takes_client else named.pop(resource_key)
            given = dict(make_context(*arguments, **named))
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

        _set_signature(run, make_context, resource_key)
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
            deps=list(deps) if deps else None,
            partitions_def=partitions_def,
            backfill_policy=backfill_policy,
            pool=pool,
            can_subset=len(described) > 1,
        )(run)
        return definition

    return decorate


def _set_signature(run: Callable[..., Any], make_context: ContextMaker, resource_key: str) -> None:
    """Parameters as Dagster reads them: those of the function, and the client where it does not take it itself."""
    given = inspect.signature(make_context)
    parameters = list(given.parameters.values())
    if resource_key not in given.parameters:
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(resource_key, kind, annotation=FlowcraftClientResource))
    # The wrapped function's result is a context, this one's are the assets.
    run.__signature__ = given.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=inspect.Signature.empty
    )
    run.__annotations__ = {
        **{name: found for name, found in make_context.__annotations__.items() if name != "return"},
        **({} if resource_key in given.parameters else {resource_key: FlowcraftClientResource}),
    }


def _describe(
    sources: Mapping[dg.AssetKey, str], specs: Sequence[dg.AssetSpec] | None, group_name: str | None
) -> list[dg.AssetSpec]:
    given = {spec.key: spec for spec in specs or ()}
    unknown = [key.to_user_string() for key in given if key not in sources]
    if unknown:
        raise ValueError(f"specs without an entry in outputs: {', '.join(unknown)}")
    plain = {key: dg.AssetSpec(key, group_name=group_name, kinds={"flowcraft"}) for key in sources}
    return [{**plain, **given}[key] for key in sources]


def _describe_dagster_run(context: AssetExecutionContext, run_id: str) -> dict[str, Any]:
    """What a workflow is told; the same in a run that repeats another one, but for the id of the run that began."""
    own = {name: value for name, value in context.run.tags.items() if not name.startswith(SYSTEM_TAGS)}
    described: dict[str, Any] = {"runId": run_id, "tags": own}
    if context.has_partition_key:
        described["partitionKey"] = context.partition_key
    elif context.has_partition_key_range:
        keys = context.partition_key_range
        described["partitionKeyRange"] = {"start": keys.start, "end": keys.end}
    return described


def _start(
    context: AssetExecutionContext,
    client: Client,
    blueprint_id: str,
    given: Mapping[str, Any],
    suffix: str,
    tags: Mapping[str, str],
    run_ids: list[str],
) -> str:
    """Start the workflow, or take up the one of the Dagster run that is repeated; ``run_ids`` is told beforehand."""

    def start(run_id: str) -> str:
        run_ids[:] = [run_id]
        about = _describe_dagster_run(context, run_id.removesuffix(suffix))
        return client.start(blueprint_id, {DAGSTER_NAME: about, **given}, run_id=run_id, tags=tags)

    wished = choose_run_id(context.instance, context.run, client, suffix)
    own = context.run.run_id + suffix
    try:
        return start(wished)
    except RunConflict:
        run_ids.clear()
        if wished == own:
            raise
    # The inputs are others than those of the earlier run: what it made of them is of no use here.
    return start(own)


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
    run_ids: list[str] = []
    with cancelled_with_dagster_run(client, run_ids, context.log, cancel=cancel_workflow):
        # The status sensor counts it on the blueprint's own asset.
        tags = make_tags(context.run, records=False, cancel=cancel_workflow)
        run_id = _start(context, client, blueprint_id, given, suffix, tags, run_ids)
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
