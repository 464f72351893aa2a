"""The checks of nodes that are shown as assets: a node that failed is not green."""

# No `from __future__ import annotations`: Dagster reads the types of op parameters when the op is defined.
import time
from collections.abc import Iterator
from typing import Final

import dagster as dg
from dagster import AssetCheckExecutionContext

from flowcraft_dagster.errors import FlowcraftError, InfrastructureError
from flowcraft_dagster.orchestration.catalogue import Catalogue, CatalogueEntry
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.following import retried
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement
from flowcraft_dagster.orchestration.node_figures import NODE_CHECK, NodeFigures, measure_node_runs
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import FlowcraftClientResource
from flowcraft_dagster.ports.records import FINAL_STATUSES, RunQuery
from flowcraft_dagster.runtime.result import RunResult

RUNS_READ: Final = 20


def build_node_checks(
    catalogue: Catalogue, presenter: Presenter, limits: CheckLimits
) -> list[dg.AssetChecksDefinition]:
    """The checks of all nodes that are shown; none where no node is.

    Args:
        catalogue: the blueprints and their nodes.
        presenter: shows errors.
        limits: how far back runs are looked at.
    """
    owners = {
        spec.key: (entry, node_id) for entry in catalogue.entries.values() for node_id, spec in entry.nodes.items()
    }
    if not owners:
        return []

    @dg.multi_asset_check(
        name="flowcraft_nodes",
        specs=[dg.AssetCheckSpec(NODE_CHECK, asset=key, description="The node did not fail lately.") for key in owners],
        can_subset=True,
    )
    def flowcraft_nodes(
        context: AssetCheckExecutionContext, flowcraft: FlowcraftClientResource
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = [owners[check.asset_key] for check in context.selected_asset_check_keys]
        blueprints = {entry.blueprint.id: entry for entry, _ in wanted}
        with retried(context.op_execution_context):
            connection = flowcraft.connect()
            found = {name: judge_nodes(connection, entry, presenter, limits) for name, entry in blueprints.items()}
        for entry, node_id in wanted:
            yield found[entry.blueprint.id][node_id].to_result()

    return [flowcraft_nodes]


def judge_nodes(
    connection: Connection, entry: CatalogueEntry, presenter: Presenter, limits: CheckLimits
) -> dict[str, Judgement]:
    """A judgement for each node of a blueprint by its latest runs. Raises InfrastructureError."""
    client = connection.client
    query = RunQuery(
        statuses=FINAL_STATUSES,
        blueprint_id=entry.blueprint.id,
        since=time.time() - limits.window_seconds,
        with_children=True,
        limit=min(limits.window_runs, RUNS_READ),
    )
    results: list[RunResult] = []
    for header in reversed(client.runs(query)):
        try:
            results.append(client.result(header.run_id))
        except InfrastructureError:
            raise
        except FlowcraftError:
            # It was deleted meanwhile.
            continue
    found = measure_node_runs(results)
    return {
        node_id: found.get(node_id, NodeFigures()).judge(spec.key, presenter) for node_id, spec in entry.nodes.items()
    }
