"""The code location: what is in it, what runs by itself, and what happens when things are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest

from flowcraft_dagster.errors import AppLoadError, BlueprintError
from flowcraft_dagster.orchestration.connection import count_connections
from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation, build_flowcraft_definitions
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions
from tests.dagster.conftest import SAMPLE_APP, Site, WorkerThread
from tests.dagster.sample_app import app as sample_app

RUNNING, STOPPED = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED


def test_what_runs_by_itself() -> None:
    repository = build_flowcraft_definitions(sample_app).get_repository_def()

    statuses = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    assert statuses == {
        "flowcraft_status_sensor": RUNNING,
        "flowcraft_run_request_sensor": RUNNING,
        "flowcraft_completion_sensor": STOPPED,
        "flowcraft_run_failure_sensor": STOPPED,
    }
    assert [schedule.default_status for schedule in repository.schedule_defs] == [dg.DefaultScheduleStatus.RUNNING]


def test_a_setting_turns_everything_off_or_on() -> None:
    off = build_flowcraft_definitions(sample_app, automation=FlowcraftAutomation(running=False)).get_repository_def()
    on = build_flowcraft_definitions(sample_app, automation=FlowcraftAutomation(reacting=True)).get_repository_def()

    assert {sensor.default_status for sensor in off.sensor_defs} == {STOPPED}
    assert [schedule.default_status for schedule in off.schedule_defs] == [dg.DefaultScheduleStatus.STOPPED]
    assert {sensor.default_status for sensor in on.sensor_defs} == {RUNNING}


def test_every_blueprint_is_a_materializable_asset_with_its_content_hash() -> None:
    definitions = build_flowcraft_definitions(sample_app)
    specs = {
        spec.metadata.get("dagster-flowcraft/blueprint_id"): spec for spec in definitions.resolve_all_asset_specs()
    }

    for blueprint in sample_app.blueprints.values():
        spec = specs[blueprint.id]
        assert spec.code_version == blueprint.content_hash
        assert definitions.resolve_asset_graph().get(spec.key).is_materializable
        assert "data:image/svg+xml;base64," in (spec.description or "")


def test_loading_connects_to_nothing(tmp_path: Path) -> None:
    in_the_way = tmp_path / "home"
    in_the_way.write_text("a file where a folder should be")
    before = count_connections()
    definitions = build_flowcraft_definitions(sample_app, backend=EmbeddedStoreResource(home=str(in_the_way)))
    dg.Definitions.validate_loadable(definitions)

    assert count_connections() == before


def test_only_observing_leaves_out_what_acts() -> None:
    definitions = build_flowcraft_definitions(sample_app, observe_only=True)
    repository = definitions.get_repository_def()

    assert [sensor.name for sensor in repository.sensor_defs] == ["flowcraft_status_sensor"]
    assert set(repository.job_names) == {"__ASSET_JOB"}
    assert list(repository.schedule_defs) == []
    assert not definitions.resolve_asset_graph().materializable_asset_keys


WRITES = {
    "jobs": ("send",),
    "requests": ("send_requests",),
    "dead_letters": ("add_letter", "replay_letter", "drop_letter"),
    "state": ("create_run", "claim_run", "commit", "add_signal", "touch_runs", "delete_run", "save_blueprint"),
    "index": ("publish", "add_timers", "drop_timers", "count_death"),
    "workers": ("record_worker",),
}


def test_only_observing_needs_no_right_to_write(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WorkerThread(site.app, site.settings)
    worker.start()
    for blueprint_id in ("400", "fails", "waits"):
        site.client.wait_for_pause(site.client.start(blueprint_id, {"n": 1}), 20)
    worker.stop()
    definitions = build_flowcraft_definitions(
        SAMPLE_APP,
        backend=EmbeddedStoreResource(home=str(site.home), synchronous="NORMAL"),
        status_options=StatusSensorOptions(safety_lag_seconds=-1.0),
        observe_only=True,
    )
    refused: list[str] = []
    for port, names in WRITES.items():
        for name in names:

            async def refuse(*arguments: object, name: str = f"{port}.{name}") -> None:
                refused.append(name)
                raise PermissionError(name)

            monkeypatch.setattr(getattr(site.connection.backend, port), name, refuse)

    (sensor,) = definitions.get_repository_def().sensor_defs
    tick = site.evaluate(sensor)
    shown = {event.asset_key for event in tick.asset_events if not isinstance(event, dg.AssetCheckEvaluation)}
    assert shown == {site.catalogue.entries[blueprint_id].key for blueprint_id in ("400", "fails")}
    checks = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=site.instance)
    judged = {evaluation.asset_check_key for evaluation in checks.get_asset_check_evaluations()}
    assert judged == set(definitions.resolve_asset_graph().asset_check_keys)
    assert refused == []


def test_an_app_by_name_is_loaded() -> None:
    definitions = build_flowcraft_definitions("tests.dagster.sample_app:app")

    assert definitions.resolve_job_def("start_flowcraft_runs").name == "start_flowcraft_runs"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("", "nosuch_module_at_all:app", "cannot import nosuch_module_at_all: ModuleNotFoundError"),
        ("", "given:app", "module given has no 'app'"),
        ("app = 3", "given:app", "'app' is a int, not a Flowcraft app"),
        ("raise RuntimeError('no model')", "given:app", "cannot import given: RuntimeError: no model"),
    ],
)
def test_a_broken_app_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, message: str
) -> None:
    (tmp_path / "given.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "given", raising=False)

    with pytest.raises(AppLoadError, match="app '") as caught:
        build_flowcraft_definitions(target)
    assert message in str(caught.value)
    assert caught.value.hint
    sys.modules.pop("given", None)


def test_a_broken_blueprint_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow.json").write_text('{"id": "flow", "nodes": [{"id": "a", "uses": 3}]}')
    source = f"from flowcraft_dagster import Flowcraft\napp = Flowcraft([{str(tmp_path / 'flow.json')!r}])\n"
    (tmp_path / "given.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "given", raising=False)

    with pytest.raises(BlueprintError, match="blueprint 'flow', node 'a', field 'uses': must be text"):
        build_flowcraft_definitions("given:app")
    sys.modules.pop("given", None)


def test_an_app_without_blueprints_loads() -> None:
    from flowcraft_dagster.app import Flowcraft

    dg.Definitions.validate_loadable(build_flowcraft_definitions(Flowcraft()))
