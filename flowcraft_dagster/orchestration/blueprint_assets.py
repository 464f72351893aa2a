"""One materializable asset for every blueprint: *Materialize* starts a run, waits and records it."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext
from pydantic import Field

from flowcraft_dagster.errors import WaitTimeout
from flowcraft_dagster.orchestration.blueprint_choice import find_example
from flowcraft_dagster.orchestration.catalogue import Catalogue, CatalogueEntry
from flowcraft_dagster.orchestration.connection import Connection
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
from flowcraft_dagster.orchestration.translator import make_slug
from flowcraft_dagster.ports.records import COMPLETED


class BlueprintRunConfig(dg.Config):
    """How a blueprint's asset is materialized."""

    context: dict[str, Any] = Field(
        default={},
        description="Initial context of the run, JSON. It is stored as it is: name secrets, never give them.",
    )
    run_id: str = Field(
        default="",
        description="Id of the run, 1 to 200 printable characters; the same id is the same run. Empty: made of the"
        " Dagster run's id.",
    )
    timeout_seconds: float = Field(
        default=300.0, description="How long to wait. The run goes on afterwards and is recorded by the status sensor."
    )
    cancel_workflow: bool = Field(
        default=True, description="Whether cancelling the Dagster run cancels the workflow run too."
    )


def build_blueprint_assets(catalogue: Catalogue, presenter: Presenter) -> list[dg.AssetsDefinition]:
    """The assets of all blueprints.

    Args:
        catalogue: the blueprints and their specs.
        presenter: shows results.
    """
    return [_build_asset(entry, presenter) for entry in catalogue.entries.values()]


def _build_asset(entry: CatalogueEntry, presenter: Presenter) -> dg.AssetsDefinition:
    fields = {
        **BlueprintRunConfig.to_fields_dict(),
        "context": dg.Field(
            dict,
            default_value=find_example(entry.blueprint),
            description=BlueprintRunConfig.model_fields["context"].description,
        ),
    }

    @dg.multi_asset(name=entry.op_name, specs=[entry.spec], config_schema=fields)
    def blueprint_asset(
        context: AssetExecutionContext, flowcraft: FlowcraftClientResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        config = BlueprintRunConfig(**context.op_execution_context.op_config)
        with retried(context.op_execution_context):
            result = _run(context, flowcraft.connect(), entry, config, presenter)
        yield result

    return blueprint_asset


def _run(
    context: AssetExecutionContext,
    connection: Connection,
    entry: CatalogueEntry,
    config: BlueprintRunConfig,
    presenter: Presenter,
) -> dg.MaterializeResult[Any]:
    client, blueprint_id = connection.client, entry.blueprint.id
    suffix = f"-{make_slug(blueprint_id, '-')}"
    run_id = config.run_id or choose_run_id(context.instance, context.run, client, suffix)
    tags = make_tags(context.run, records=True, cancel=config.cancel_workflow)
    with cancelled_with_dagster_run(client, [run_id], context.log, cancel=config.cancel_workflow):
        client.start(blueprint_id, config.context, run_id=run_id, tags=tags)
        context.log.info("workflow run %s of blueprint '%s' started", run_id, blueprint_id)
        try:
            result = follow_run(client, run_id, config.timeout_seconds, context.log, presenter)
        except WaitTimeout as error:
            raise dg.Failure(f"{error}. The status sensor records it when it ends.", allow_retries=False) from error
    header = client.status(run_id)
    is_mine = header.tags.get(RECORDER_TAG) == context.run.run_id
    metadata = presenter.describe_result(result, header, entry.blueprint, counts=is_mine)
    if result.status != COMPLETED:
        raise dg.Failure(presenter.name_failure(result), metadata=metadata, allow_retries=False)
    return dg.MaterializeResult(asset_key=entry.key, metadata=metadata)
