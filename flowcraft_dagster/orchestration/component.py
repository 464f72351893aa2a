"""The component for ``dg``: a code location from a few lines of YAML."""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import Blueprint
from flowcraft_dagster.errors import AppLoadError
from flowcraft_dagster.orchestration.component_models import (
    FlowcraftAutomationModel,
    FlowcraftBackendModel,
    FlowcraftCheckModel,
    FlowcraftTranslationModel,
)
from flowcraft_dagster.orchestration.component_scaffolder import FlowcraftScaffolder
from flowcraft_dagster.orchestration.connection import find_app
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation, build_flowcraft_definitions
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.translator import (
    FlowcraftBlueprintProps,
    FlowcraftDagsterTranslator,
    FlowcraftProps,
    make_owners,
)


class ConfiguredTranslator(FlowcraftDagsterTranslator):
    """The default translator with what YAML says on top.

    Args:
        translation: what YAML says.
    """

    def __init__(self, translation: FlowcraftTranslationModel) -> None:
        self._translation = translation

    def get_asset_spec(self, props: FlowcraftProps) -> dg.AssetSpec:
        """The asset that stands for a blueprint's runs, or for one of its nodes, which keep a group of their own."""
        given = self._translation
        spec = super().get_asset_spec(props)
        if given.group_name and isinstance(props, FlowcraftBlueprintProps):
            spec = spec.replace_attributes(group_name=given.group_name)
        spec = spec.replace_attributes(key=dg.AssetKey([*given.key_prefix, *spec.key.path]))
        return spec.merge_attributes(owners=make_owners(given.owners), tags=given.tags, kinds=set(given.kinds))


@dg.scaffold_with(FlowcraftScaffolder)
class FlowcraftComponent(dg.Component, dg.Model, dg.Resolvable):
    """Assets, checks, jobs, sensors and the schedule for the blueprints of an app."""

    app: str = Field(
        default="", description="MODULE:ATTR of the app; with a leading point a module beside this file: '.flows:app'."
    )
    blueprints: str = Field(
        default="", description="A blueprint file, or a folder of them, beside this file; added to those of the app."
    )
    nodes: list[str] = Field(
        default=[], description="Further apps, MODULE:ATTR, whose node kinds and blueprints are added."
    )
    backend: FlowcraftBackendModel = Field(default=FlowcraftBackendModel(), description="Where runs are kept.")
    automation: FlowcraftAutomationModel = Field(
        default=FlowcraftAutomationModel(), description="What the location does by itself."
    )
    translation: FlowcraftTranslationModel = Field(
        default=FlowcraftTranslationModel(), description="How the blueprints' assets are described."
    )
    checks: FlowcraftCheckModel = Field(default=FlowcraftCheckModel(), description="When asset checks fail.")
    node_assets: bool = Field(default=False, description="Whether each node is shown as an asset, too.")
    observe_only: bool = Field(
        default=False, description="Only what shows runs; nothing that starts, answers, cancels or wakes one."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything for the code location. Connects to nothing.

        Raises:
            AppLoadError, BlueprintError, SettingsError: says what is wrong.
        """
        return build_flowcraft_definitions(
            self._find_app(context),
            backend=self.backend.make_resource(),
            translator=ConfiguredTranslator(self.translation),
            automation=FlowcraftAutomation(**self.automation.model_dump()),
            check_limits=CheckLimits(**self.checks.model_dump()),
            node_assets=self.node_assets,
            observe_only=self.observe_only,
        )

    def _find_app(self, context: dg.ComponentLoadContext) -> Flowcraft | str:
        targets = [self._resolve(context, target) for target in (self.app, *self.nodes) if target]
        if not self.blueprints and len(targets) == 1:
            return targets[0]
        if not self.blueprints and not targets:
            raise AppLoadError("neither an app nor blueprints are given", target="")
        found: Sequence[Flowcraft] = [find_app(target) for target in targets]
        together = Flowcraft()
        for app in found:
            for uses in app.nodes:
                together.nodes.register(uses, app.nodes[uses])
            together.dependencies.update(app.dependencies)
            together.middleware += app.middleware
            together.listeners += app.listeners
            blueprints: Sequence[Blueprint] = list(app.blueprints.values())
            for blueprint in blueprints:
                together.add_blueprint(blueprint)
        if self.blueprints:
            together.add_blueprint(context.path / self.blueprints)
        return together

    @staticmethod
    def _resolve(context: dg.ComponentLoadContext, target: str) -> str:
        if not target.startswith("."):
            return target
        module, _, attribute = target[1:].partition(":")
        return f"{context.defs_relative_module_name(context.path)}.{module}:{attribute}"
