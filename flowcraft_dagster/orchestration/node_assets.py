"""One external asset for each node of a blueprint, with the blueprint's edges as lineage. Made on request only."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import dagster as dg

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import Blueprint, NodeSpec
from flowcraft_dagster.errors import NodeNotRegistered, one_line
from flowcraft_dagster.orchestration.picture_layout import find_back_edges
from flowcraft_dagster.orchestration.translator import (
    CodePlace,
    FlowcraftDagsterTranslator,
    FlowcraftNodeProps,
    make_node_key,
)

MOST_PROBLEMS: Final = 5


@dataclass(frozen=True)
class NodeAssets:
    """The nodes of a blueprint as assets.

    Attributes:
        specs: by node id, in the blueprint's order.
        problems: why some of them are not shown as the translator says.
    """

    specs: Mapping[str, dg.AssetSpec]
    problems: tuple[str, ...] = ()


def describe_nodes(
    app: Flowcraft,
    blueprint: Blueprint,
    translator: FlowcraftDagsterTranslator,
    taken: Mapping[dg.AssetKey, str],
    find_key: Callable[[str], dg.AssetKey | None],
) -> NodeAssets:
    """Describe the nodes of a blueprint as external assets.

    Edges that lead back are left out of the lineage and listed in the metadata, so the asset graph has no cycle. A
    fallback node lies behind the node it stands in for. A translator that fails, gives specs that Dagster refuses, or
    gives a key twice does not keep the location from loading: what it says is not used then.

    Args:
        app: the blueprints and the code of their nodes.
        blueprint: whose nodes.
        translator: describes them.
        taken: asset keys of others, with whose they are.
        find_key: the asset key of another blueprint by its id.
    """
    return _ask_all(translator, _list_props(app, blueprint, find_key), taken)


def _list_props(
    app: Flowcraft, blueprint: Blueprint, find_key: Callable[[str], dg.AssetKey | None]
) -> list[FlowcraftNodeProps]:
    back = find_back_edges(blueprint)
    pairs = {(edge.source, edge.target) for edge in blueprint.edges}
    pairs |= {(node.id, node.config.fallback) for node in blueprint.nodes if node.config.fallback is not None}
    found = []
    for node in blueprint.nodes:
        sources = sorted(source for source, target in pairs if target == node.id)
        found.append(
            FlowcraftNodeProps(
                blueprint,
                node,
                sources=[source for source in sources if (source, node.id) not in back],
                back_edges=[source for source in sources if (source, node.id) in back],
                code=_find_code(app, node.uses),
                sub_blueprint=_find_child(node, find_key),
            )
        )
    return found


def _ask_all(
    translator: FlowcraftDagsterTranslator, found: list[FlowcraftNodeProps], others: Mapping[dg.AssetKey, str]
) -> NodeAssets:
    taken = dict(others)
    specs: dict[str, dg.AssetSpec] = {}
    problems: list[str] = []
    for props in found:
        name = f"node '{one_line(props.node.id)}'"
        try:
            spec = translator.get_asset_spec(props)
            # Refuses what is no spec at all, for example None.
            dg.AssetsDefinition(specs=[spec])
            if spec.key in taken:
                raise ValueError(f"the asset key {spec.key.to_user_string()} is that of {taken[spec.key]} too")
        except Exception as error:  # noqa: BLE001 - a translator is user code; whatever it raises is shown as a check
            problems.append(f"{name}: {type(error).__name__}: {error}")
            spec = FlowcraftDagsterTranslator().get_asset_spec(props)
            while spec.key in taken:
                spec = spec.replace_attributes(key=dg.AssetKey([*spec.key.path, "default"]))
        taken[spec.key] = name
        specs[props.node.id] = spec
    if len(problems) > MOST_PROBLEMS:
        problems = [*problems[:MOST_PROBLEMS], f"and {len(problems) - MOST_PROBLEMS} more"]
    return NodeAssets(_put_keys_in_place(specs, found), tuple(problems))


def _put_keys_in_place(
    specs: Mapping[str, dg.AssetSpec], found: list[FlowcraftNodeProps]
) -> Mapping[str, dg.AssetSpec]:
    """Lineage by the keys that the translator gave, where it names sources by their default keys."""
    present = {make_node_key(props.blueprint.id, node_id): specs[node_id].key for props in found for node_id in specs}
    moved = {}
    for node_id, spec in specs.items():
        deps = [
            dg.AssetDep(present[dep.asset_key], partition_mapping=dep.partition_mapping)
            if dep.asset_key in present
            else dep
            for dep in spec.deps
        ]
        moved[node_id] = spec.replace_attributes(deps=deps)
    return moved


def _find_child(node: NodeSpec, find_key: Callable[[str], dg.AssetKey | None]) -> dg.AssetKey | None:
    child = node.params.get("blueprintId") if node.kind == "subflow" else None
    return find_key(child) if isinstance(child, str) else None


def _find_code(app: Flowcraft, uses: str) -> CodePlace | None:
    """Where the node's function stands; nothing for built-in kinds and for what has no source."""
    try:
        implementation = inspect.unwrap(app.nodes.find(uses))
        path, (_, line) = inspect.getsourcefile(implementation), inspect.getsourcelines(implementation)
    except (NodeNotRegistered, OSError, TypeError, ValueError):
        return None
    return None if path is None else CodePlace(path, max(1, line))
