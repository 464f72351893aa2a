"""Resources: one live connection per configuration, none before it is needed, and a bounded worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import OpExecutionContext

from flowcraft_dagster.app import Flowcraft, load_app
from flowcraft_dagster.errors import AppLoadError, SettingsError, StorageReadOnly
from flowcraft_dagster.orchestration.connection import connect, count_connections, find_app, register_app
from flowcraft_dagster.orchestration.resources import (
    EmbeddedStoreResource,
    EnvironmentBackendResource,
    FlowcraftClientResource,
)
from tests.dagster.conftest import Site, WorkerThread

APP = "tests.dagster.sample_app:app"


def test_a_hundred_ticks_share_one_connection(site: Site) -> None:
    for _ in range(100):
        assert site.tick("flowcraft_run_request_sensor").skip_message == "no new requests"

    assert count_connections() == 1


def make_app(node: Callable[[Any], Any]) -> Flowcraft:
    return Flowcraft({"id": "one", "nodes": [{"id": "a", "uses": "named"}]}, nodes={"named": node})


def test_an_app_that_is_given_and_named_has_one_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(lambda ctx: None)
    given = register_app(app)
    # As a module of the location would be.
    monkeypatch.setitem(sys.modules, "app_of_a_module", SimpleNamespace(app=app))
    named = register_app(load_app("app_of_a_module:app"))

    assert given.startswith("object:")
    assert named == "app_of_a_module:app"
    assert find_app(given) is find_app(named) is app
    backend = EmbeddedStoreResource(home=str(site.home))
    first, second = (FlowcraftClientResource(app=name, backend=backend).connect() for name in (given, named))
    assert first is second


def test_apps_with_the_same_blueprints_keep_their_own_nodes(site: Site) -> None:
    apps = [make_app(lambda ctx: "first"), make_app(lambda ctx: "second")]
    names = [register_app(app) for app in apps]

    assert [register_app(app) for app in apps] == names
    assert [find_app(name) for name in names] == apps
    backend = EmbeddedStoreResource(home=str(site.home))
    assert [FlowcraftClientResource(app=name, backend=backend).connect().app for name in names] == apps


def test_settings_come_from_fields_and_from_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_HOME", str(site.home / "other"))
    by_field = FlowcraftClientResource(app=APP, backend=EmbeddedStoreResource(home=str(site.home))).connect()
    by_environment = FlowcraftClientResource(app=APP, backend=EnvironmentBackendResource()).connect()

    assert by_field.settings.home == site.home
    assert by_environment.settings.home == site.home / "other"
    assert count_connections() == 2


def test_a_connection_is_made_again_after_a_failure(site: Site) -> None:
    site.home.parent.mkdir(exist_ok=True)
    site.home.write_text("in the way")
    with pytest.raises(StorageReadOnly):
        site.resource.connect()
    site.home.unlink()

    assert site.resource.get_client().runs() == ()


def test_wrong_configuration_says_what_is_wrong() -> None:
    with pytest.raises(AppLoadError, match="cannot import nosuch_module_at_all"):
        connect("nosuch_module_at_all:app", {})
    with pytest.raises(SettingsError, match="FLOWCRAFT_BACKEND"):
        connect(APP, {"FLOWCRAFT_BACKEND": "punched cards"})


def test_an_op_of_ones_own_uses_the_client(site: Site, worker: WorkerThread) -> None:
    # Dagster reads types when the op is defined; this module's annotations are text until then.
    def body(context, flowcraft):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        client = flowcraft.get_client()
        return client.wait(client.start("400", {"n": 1}), 20).outputs["step2"]

    body.__annotations__ = {"context": OpExecutionContext, "flowcraft": FlowcraftClientResource}
    op = dg.op(name="own")(body)

    @dg.job(resource_defs={"flowcraft": site.resource})
    def own_job() -> None:
        op()

    assert own_job.execute_in_process(instance=site.instance).output_for_node("own") == 4


def test_an_environment_variable_can_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_FOLDER", str(tmp_path / "mine"))
    resource = EmbeddedStoreResource(home=dg.EnvVar("MY_FOLDER")).process_config_and_initialize()

    assert resource.list_variables()["FLOWCRAFT_HOME"] == str(tmp_path / "mine")
