"""The component for ``dg``: a code location from a few lines of YAML."""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import dagster as dg
from pydantic import Field

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.blueprint import Blueprint
from flowcraft_dagster.errors import AppLoadError
from flowcraft_dagster.orchestration.connection import find_app
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation, build_flowcraft_definitions
from flowcraft_dagster.orchestration.resources import (
    EmbeddedStoreResource,
    EnvironmentBackendResource,
    FlowcraftBackendResource,
)
from flowcraft_dagster.orchestration.translator import (
    FlowcraftBlueprintProps,
    FlowcraftDagsterTranslator,
    make_owners,
)

FLOWS: Final = '''\
"""The app: node kinds and blueprints. Workers load it too: flowcraft-dagster worker --app MODULE:app"""

from pathlib import Path

from flowcraft_dagster import Flowcraft, NodeContext

app = Flowcraft()


@app.node("greet")
async def greet(ctx: NodeContext) -> str:
    """A greeting for whoever the context names."""
    return f"Hello, {ctx.input}!"


# The node kinds come first: blueprints are checked against them.
app.add_blueprint(Path(__file__).with_name("blueprints"))
'''
BLUEPRINT: Final = """\
{
  "id": "hello",
  "metadata": {"title": "Hello", "exampleContext": {"name": "Ada"}},
  "nodes": [{"id": "greet", "uses": "greet", "inputs": "name"}],
  "edges": []
}
"""


class FlowcraftBackendModel(dg.Model, dg.Resolvable):
    """Where runs are kept."""

    kind: Literal["environment", "embedded"] = Field(
        default="environment",
        description="environment: what FLOWCRAFT_BACKEND and its companions say; embedded: one SQLite file.",
    )
    home: str = Field(default="", description="Folder of the embedded backend; empty for that of the environment.")
    synchronous: Literal["FULL", "NORMAL"] = Field(default="FULL", description="FULL survives a loss of power.")

    def make_resource(self) -> FlowcraftBackendResource:
        """The resource that this describes."""
        if self.kind == "embedded":
            return EmbeddedStoreResource(home=self.home, synchronous=self.synchronous)
        return EnvironmentBackendResource()


class FlowcraftAutomationModel(dg.Model, dg.Resolvable):
    """What the location does by itself; see :class:`FlowcraftAutomation`."""

    running: bool = Field(default=True, description="Whether status and request sensor and reconciliation run.")
    reacting: bool = Field(default=False, description="Whether completion and failure sensors run.")
    reconciliation_cron: str = Field(default="*/5 * * * *", description="When stalled runs are looked for.")
    stalled_after_seconds: float = Field(default=300.0, description="When a run counts as stalled.")
    status_interval_seconds: int = Field(default=15, description="Between two ticks of the status sensor.")
    request_interval_seconds: int = Field(default=15, description="Between two ticks of the request sensor.")


class FlowcraftTranslationModel(dg.Model, dg.Resolvable):
    """How the blueprints' assets are described."""

    key_prefix: list[str] = Field(default=[], description="Stands before the asset keys.")
    group_name: str = Field(default="", description="Group of all blueprints' assets.")
    owners: list[str] = Field(default=[], description="E-mail addresses or teams, added to those of the blueprint.")
    tags: dict[str, str] = Field(default={}, description="Tags of all blueprints' assets.")
    kinds: list[str] = Field(default=[], description="Kinds beside 'flowcraft'.")


class ConfiguredTranslator(FlowcraftDagsterTranslator):
    """The default translator with what YAML says on top.

    Args:
        translation: what YAML says.
    """

    def __init__(self, translation: FlowcraftTranslationModel) -> None:
        self._translation = translation

    def get_asset_spec(self, props: FlowcraftBlueprintProps) -> dg.AssetSpec:
        """The asset that stands for a blueprint's runs."""
        given = self._translation
        spec = super().get_asset_spec(props)
        if given.group_name:
            spec = spec.replace_attributes(group_name=given.group_name)
        spec = spec.replace_attributes(key=dg.AssetKey([*given.key_prefix, *spec.key.path]))
        return spec.merge_attributes(owners=make_owners(given.owners), tags=given.tags, kinds=set(given.kinds))


class FlowcraftScaffolder(dg.Scaffolder[Any]):
    """Makes an app with a first blueprint beside the YAML."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files."""
        folder = Path(request.target_path)
        (folder / "blueprints").mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "flows.py").write_text(FLOWS, encoding="utf-8")
        (folder / "blueprints" / "hello.json").write_text(BLUEPRINT, encoding="utf-8")
        dg.scaffold_component(request, {"app": ".flows:app"})


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
    node_assets: bool = Field(default=False, description="Whether each node is shown as an asset, too.")
    observe_only: bool = Field(
        default=False, description="Only what shows runs; nothing that starts, answers, cancels or wakes one."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything for the code location. Connects to nothing.

        Raises:
            AppLoadError, BlueprintError: says what is wrong.
        """
        return build_flowcraft_definitions(
            self._find_app(context),
            backend=self.backend.make_resource(),
            translator=ConfiguredTranslator(self.translation),
            automation=FlowcraftAutomation(**self.automation.model_dump()),
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
