"""The component: scaffolded, loaded from YAML, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from flowcraft_dagster import Flowcraft, FlowcraftComponent
from flowcraft_dagster.engine.node import Middleware
from flowcraft_dagster.errors import AppLoadError, SettingsError
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation
from flowcraft_dagster.orchestration.judgement import CheckLimits
from tests.dagster.conftest import Site
from tests.dagster.sample_app import app as sample_app

# Dagster uses beta features of its own for components.
pytestmark = pytest.mark.filterwarnings("ignore:(Class|Parameter|Function) .* is currently in (beta|preview)")
APP = "tests.dagster.sample_app:app"


listened = Flowcraft(nodes=sample_app.nodes, middleware=[Middleware()], listeners=[lambda event: None])


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
        assert (spec.description or "").startswith("Hello.\n\nRuns of the blueprint")
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


@pytest.mark.parametrize(
    ("backend", "variables"),
    [
        ({"kind": "embedded", "home": "somewhere"}, {"FLOWCRAFT_BACKEND": "embedded", "FLOWCRAFT_HOME": "somewhere"}),
        (
            # Nothing listens there: definitions load all the same.
            {
                "kind": "kafka",
                "queue": {"brokers": "127.0.0.1:1", "sasl_password": {"env": "SOME_PASSWORD"}},
                "store": {"contact_points": "127.0.0.1", "port": 1, "further": {"CASSANDRA_CONSISTENCY": "ONE"}},
                "coordination": {"url": "redis://127.0.0.1:1"},
            },
            {
                "FLOWCRAFT_BACKEND": "kafka",
                "KAFKA_BROKERS": "127.0.0.1:1",
                "KAFKA_SASL_PASSWORD": "hunter2",
                "CASSANDRA_CONTACT_POINTS": "127.0.0.1",
                "CASSANDRA_PORT": "1",
                "CASSANDRA_CONSISTENCY": "ONE",
                "REDIS_URL": "redis://127.0.0.1:1",
            },
        ),
    ],
)
def test_the_backend_comes_from_yaml(
    sandbox: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch, backend: dict[str, Any], variables: dict[str, str]
) -> None:
    resource: Any = (load(sandbox, app=APP, backend=backend).resources or {})["flowcraft"]
    monkeypatch.setenv("SOME_PASSWORD", "hunter2")

    assert "hunter2" not in repr(resource)
    with dg.build_resources({"flowcraft": resource}) as resources:
        found = resources.flowcraft.backend.list_variables()
    assert {name: found[name] for name in variables} == variables


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (
            {"kind": "kafka", "queue": {"broker": "k:1"}},
            "setting backend.queue: has no field 'broker'; there are brokers,",
        ),
        ({"kind": "kafka", "store": {"port": "many"}}, "setting backend.store.port: Input should be a valid integer"),
    ],
)
def test_a_backend_that_cannot_be_is_named(sandbox: DefsFolderSandbox, backend: dict[str, Any], message: str) -> None:
    assert message in find_cause(sandbox, SettingsError, app=APP, backend=backend)


def test_limits_of_checks_come_from_yaml(sandbox: DefsFolderSandbox, site: Site) -> None:
    definitions = load(
        sandbox, app=APP, backend={"kind": "embedded", "home": str(site.home)}, checks={"error_workers": 3}
    )
    job = definitions.resolve_job_def("reconcile_flowcraft_runs")
    evaluations = job.execute_in_process(instance=site.instance).get_asset_check_evaluations()

    assert "0 workers alive, 3 wanted" in [evaluation.description for evaluation in evaluations]


def test_middleware_and_listeners_of_apps_are_kept_when_they_are_put_together(sandbox: DefsFolderSandbox) -> None:
    definitions = load(sandbox, blueprints="extra", nodes=["tests.dagster.test_component:listened"])
    resource: Any = (definitions.resources or {})["flowcraft"]
    app = resource.get_app()

    assert (app.middleware, app.listeners) == (listened.middleware, listened.listeners)


def test_only_observing(sandbox: DefsFolderSandbox) -> None:
    repository = load(sandbox, app=APP, observe_only=True).get_repository_def()

    assert [sensor.name for sensor in repository.sensor_defs] == ["flowcraft_status_sensor"]


def find_cause(sandbox: DefsFolderSandbox, kind: type[Exception], **attributes: Any) -> str:
    """Why a component does not load."""
    with pytest.raises(Exception, match="Error while building definitions") as caught:
        load(sandbox, **attributes)
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__
    return str(cause)


def test_nothing_to_show_is_refused(sandbox: DefsFolderSandbox) -> None:
    assert "neither an app nor blueprints are given" in find_cause(sandbox, AppLoadError)


@pytest.mark.parametrize(("field", "dataclass"), [("automation", FlowcraftAutomation), ("checks", CheckLimits)])
def test_yaml_knows_every_setting_with_the_same_default(field: str, dataclass: type[Any]) -> None:
    assert FlowcraftComponent.model_fields[field].default.model_dump() == asdict(dataclass())
