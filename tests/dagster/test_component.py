"""The component: scaffolded, loaded from YAML, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from flowcraft_dagster import FlowcraftComponent
from flowcraft_dagster.errors import AppLoadError
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation

# Dagster uses beta features of its own for components.
pytestmark = pytest.mark.filterwarnings("ignore:(Class|Parameter|Function) .* is currently in (beta|preview)")
APP = "tests.dagster.sample_app:app"


@pytest.fixture
def sandbox() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as made:
        yield made


def load(sandbox: DefsFolderSandbox, **attributes: Any) -> dg.Definitions:
    contents = {"type": "flowcraft_dagster.FlowcraftComponent", "attributes": attributes}
    path = sandbox.scaffold_component(component_cls=FlowcraftComponent, defs_yaml_contents=contents)
    (path / "extra").mkdir()
    (path / "extra" / "extra.json").write_text('{"id": "extra", "nodes": [{"id": "a", "uses": "double"}]}')
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, definitions):
        dg.Definitions.validate_loadable(definitions)
        return definitions


def keys_of(definitions: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}


def test_what_is_scaffolded_loads_and_its_blueprint_runs(sandbox: DefsFolderSandbox) -> None:
    path = sandbox.scaffold_component(component_cls=FlowcraftComponent)
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, definitions):
        dg.Definitions.validate_loadable(definitions)
        spec = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}["flowcraft/hello"]
        assert "**Hello**" in (spec.description or "")
        job = definitions.resolve_job_def("start_flowcraft_runs")
        assert job.run_config == {
            "ops": {
                "start_flowcraft_runs_op": {
                    "config": {
                        "blueprint_id": "hello",
                        "context": {"name": "Ada"},
                        "wait": True,
                        "timeout_seconds": 300.0,
                    }
                }
            }
        }


def test_an_app_by_name(sandbox: DefsFolderSandbox) -> None:
    assert "flowcraft/400" in keys_of(load(sandbox, app=APP))


def test_a_folder_of_blueprints_with_the_nodes_of_an_app(sandbox: DefsFolderSandbox) -> None:
    definitions = load(sandbox, blueprints="extra", nodes=[APP])

    assert {"flowcraft/extra", "flowcraft/400"} <= keys_of(definitions)


def test_translation_and_automation_come_from_yaml(sandbox: DefsFolderSandbox) -> None:
    definitions = load(
        sandbox,
        app=APP,
        translation={"group_name": "sums", "owners": ["Sum Team"], "tags": {"domain": "sums"}, "key_prefix": ["acme"]},
        automation={"running": False, "reconciliation_cron": "0 * * * *"},
        backend={"kind": "embedded", "home": "somewhere"},
        node_assets=True,
    )
    spec = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}["acme/flowcraft/400"]
    repository = definitions.get_repository_def()

    assert (spec.group_name, spec.tags["domain"]) == ("sums", "sums")
    assert next(iter(spec.owners)).startswith("team:Sum_Team")
    assert [schedule.cron_schedule for schedule in repository.schedule_defs] == ["0 * * * *"]
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}


def test_only_observing(sandbox: DefsFolderSandbox) -> None:
    repository = load(sandbox, app=APP, observe_only=True).get_repository_def()

    assert [sensor.name for sensor in repository.sensor_defs] == ["flowcraft_status_sensor"]


def test_nothing_to_show_is_refused(sandbox: DefsFolderSandbox) -> None:
    with pytest.raises(Exception, match="Error while building definitions") as caught:
        load(sandbox)
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, AppLoadError):
        cause = cause.__cause__
    assert "neither an app nor blueprints are given" in str(cause)


def test_yaml_knows_every_setting_of_the_automation() -> None:
    fields = FlowcraftComponent.model_fields["automation"].annotation
    assert fields is not None
    assert set(fields.model_fields) == set(FlowcraftAutomation.__dataclass_fields__)
