"""One external asset for each node of a blueprint, with the blueprint's edges as lineage. Made on request only."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import dagster as dg

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import Blueprint
from flowcraft_dagster.errors import NodeNotRegistered
from flowcraft_dagster.orchestration.picture_layout import find_back_edges
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator, FlowcraftNodeProps


def build_node_specs(
    app: Flowcraft, blueprint_ids: Iterable[str], translator: FlowcraftDagsterTranslator
) -> list[dg.AssetSpec]:
    """Describe the nodes of blueprints as external assets.

    Edges that lead back are left out of the lineage and listed in the metadata, so the asset graph has no cycle. A
    fallback node lies behind the node it stands in for.

    Args:
        app: the blueprints and the code of their nodes.
        blueprint_ids: which blueprints; unknown ones are passed over.
        translator: names the assets.
    """
    specs = []
    for blueprint_id in blueprint_ids:
        blueprint = app.blueprints.get(blueprint_id)
        if blueprint is not None:
            specs += _describe_nodes(app, blueprint, translator)
    return specs


def _describe_nodes(app: Flowcraft, blueprint: Blueprint, translator: FlowcraftDagsterTranslator) -> list[dg.AssetSpec]:
    back = find_back_edges(blueprint)
    pairs = {(edge.source, edge.target) for edge in blueprint.edges}
    pairs |= {(node.id, node.config.fallback) for node in blueprint.nodes if node.config.fallback is not None}
    specs = []
    for node in blueprint.nodes:
        sources = sorted(source for source, target in pairs if target == node.id)
        spec = translator.get_node_spec(
            FlowcraftNodeProps(
                blueprint,
                node,
                sources=[source for source in sources if (source, node.id) not in back],
                back_edges=[source for source in sources if (source, node.id) in back],
            )
        )
        reference = _find_code(app, node.uses)
        specs.append(spec.merge_attributes(metadata=reference) if reference else spec)
    return specs


def _find_code(app: Flowcraft, uses: str) -> dict[str, dg.PathMetadataValue]:
    """Where the node's function stands; nothing for built-in kinds and for what has no source."""
    try:
        implementation = app.nodes.find(uses)
        path, (_, line) = inspect.getsourcefile(implementation), inspect.getsourcelines(implementation)
    except (NodeNotRegistered, OSError, TypeError):
        return {}
    if path is None:
        return {}
    # Dagster's own code references are a beta feature and say so in a warning for every node.
    return {"code": dg.MetadataValue.path(f"{path}:{line}")}
