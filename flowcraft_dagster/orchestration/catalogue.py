"""What a code location shows: every blueprint with its asset key, or the reason why it cannot be shown as wished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import dagster as dg

from flowcraft_dagster.app import Flowcraft, check_expression
from flowcraft_dagster.blueprint import Blueprint, LintReport, lint_blueprint
from flowcraft_dagster.orchestration.lineage import cut_cycles
from flowcraft_dagster.orchestration.node_assets import describe_nodes
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.translator import (
    RUNTIME_NAMES,
    FlowcraftBlueprintProps,
    FlowcraftDagsterTranslator,
    make_op_name,
    make_runtime_key,
)


@dataclass(frozen=True)
class CatalogueEntry:
    """A blueprint as it is shown.

    Attributes:
        blueprint: the blueprint.
        spec: its asset.
        op_name: name of the op that runs it.
        lint: what the linter found.
        problem: why what the translator says is not used; None when it is.
        nodes: assets of its nodes by node id; empty where they are not shown.
    """

    blueprint: Blueprint
    spec: dg.AssetSpec
    op_name: str
    lint: LintReport
    problem: str | None = None
    nodes: Mapping[str, dg.AssetSpec] = field(default_factory=dict)

    @property
    def key(self) -> dg.AssetKey:
        """The asset key."""
        return self.spec.key


@dataclass(frozen=True)
class Catalogue:
    """All blueprints of an app as assets, by blueprint id, in the app's order."""

    entries: Mapping[str, CatalogueEntry]

    @cached_property
    def digest(self) -> str:
        """Changes when a blueprint, what the linter finds in it, or how it is shown changes."""
        content = [
            (
                entry.blueprint.id,
                entry.blueprint.content_hash,
                entry.key.to_user_string(),
                entry.problem,
                [str(issue) for issue in entry.lint.issues],
            )
            for entry in self.entries.values()
        ]
        return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def list_node_specs(self) -> list[dg.AssetSpec]:
        """The assets of all nodes that are shown."""
        return [spec for entry in self.entries.values() for spec in entry.nodes.values()]

    def find_key(self, blueprint_id: str) -> dg.AssetKey | None:
        """The asset key of a blueprint, or None for one that is not shown here."""
        entry = self.entries.get(blueprint_id)
        return None if entry is None else entry.key


def build_catalogue(
    app: Flowcraft,
    translator: FlowcraftDagsterTranslator,
    presenter: Presenter,
    node_assets: Iterable[str] = (),
) -> Catalogue:
    """Describe all blueprints of an app.

    A translator that fails, gives a spec Dagster refuses, or gives a key twice does not keep the location from
    loading: that blueprint is shown under its default name, and the problem becomes a failing check.

    Args:
        app: the blueprints.
        translator: names them.
        presenter: draws their pictures.
        node_assets: ids of blueprints whose nodes are shown as assets too; unknown ones are passed over.
    """
    entries: dict[str, CatalogueEntry] = {}
    taken = {make_runtime_key(name): f"the runtime's {name}" for name in RUNTIME_NAMES}
    defaults = FlowcraftDagsterTranslator()
    for blueprint in app.blueprints.values():
        lint = lint_blueprint(
            blueprint, node_kinds=set(app.nodes), blueprints=app.blueprints, check_expression=check_expression
        )
        props = FlowcraftBlueprintProps(blueprint, lint.issues, presenter.show_blueprint(blueprint))
        spec, problem = _ask(translator, props, taken)
        if spec is None:
            spec = defaults.get_asset_spec(props)
            while spec.key in taken:
                spec = spec.replace_attributes(key=dg.AssetKey([*spec.key.path, "default"]))
        taken[spec.key] = f"blueprint '{blueprint.id}'"
        entries[blueprint.id] = CatalogueEntry(blueprint, spec, make_op_name("blueprint", blueprint.id), lint, problem)
    known = Catalogue(dict(entries))
    for blueprint_id in dict.fromkeys(node_assets):
        if blueprint_id in entries:
            entry = entries[blueprint_id]
            assets = describe_nodes(app, entry.blueprint, translator, taken, known.find_key)
            taken |= {spec.key: f"a node of blueprint '{blueprint_id}'" for spec in assets.specs.values()}
            problems = [*([entry.problem] if entry.problem else []), *assets.problems]
            entries[blueprint_id] = replace(entry, nodes=assets.specs, problem="; ".join(problems) or None)
    return Catalogue(_cut_cycles(entries))


def _cut_cycles(entries: Mapping[str, CatalogueEntry]) -> dict[str, CatalogueEntry]:
    """A translator may add lineage; what would close a cycle is left out, and said."""
    named: dict[tuple[str, str | None], dg.AssetSpec] = {}
    for blueprint_id, entry in entries.items():
        named |= {(blueprint_id, node_id): spec for node_id, spec in entry.nodes.items()}
        named[blueprint_id, None] = entry.spec
    specs, cut = cut_cycles(named)
    kept = {}
    for blueprint_id, entry in entries.items():
        mine = [node_id for named_id, node_id in cut if named_id == blueprint_id]
        problems = [entry.problem] if entry.problem else []
        problems += ["its lineage would close a cycle"] if None in mine else []
        problems += ["the lineage of some of its nodes would close a cycle"] if any(mine) else []
        kept[blueprint_id] = replace(
            entry,
            spec=specs[blueprint_id, None],
            nodes={node_id: specs[blueprint_id, node_id] for node_id in entry.nodes},
            problem="; ".join(problems) or None,
        )
    return kept


def _ask(
    translator: FlowcraftDagsterTranslator, props: FlowcraftBlueprintProps, taken: Mapping[dg.AssetKey, str]
) -> tuple[dg.AssetSpec | None, str | None]:
    try:
        spec = translator.get_asset_spec(props)
        # Refuses what is no spec at all, for example None.
        dg.AssetsDefinition(specs=[spec])
    except Exception as error:  # noqa: BLE001 - a translator is user code; whatever it raises is shown as a check
        return None, f"{type(error).__name__}: {error}"
    if spec.key in taken:
        return None, f"the asset key {spec.key.to_user_string()} is that of {taken[spec.key]} too"
    return spec, None
