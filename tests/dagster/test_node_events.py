"""Nodes that are shown as assets: events for what ran, failures that are not green, and none for what did not run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.catalogue import Catalogue, build_catalogue
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.node_checks import judge_nodes
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions, build_flowcraft_status_sensor
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator, make_node_key
from tests.dagster.conftest import SAMPLE_APP, Site, WorkerThread

SHOWN = ("branches", "recovers", "lingers")
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.fixture
def catalogue(site: Site) -> Catalogue:
    return build_catalogue(site.app, FlowcraftDagsterTranslator(), Presenter(), SHOWN)


def tick(site: Site, catalogue: Catalogue, cursor: str | None = None, **options: Any) -> Any:
    """Events about nodes by node id, and what the tick says."""
    given = StatusSensorOptions(safety_lag_seconds=-1.0, run_events=0, **options)
    sensor = build_flowcraft_status_sensor(catalogue=catalogue, options=given)
    result = site.evaluate(sensor, cursor)
    names = {spec.key: node_id for entry in catalogue.entries.values() for node_id, spec in entry.nodes.items()}
    found: dict[str, list[Any]] = {}
    for event in result.asset_events:
        if event.asset_key in names:
            found.setdefault(names[event.asset_key], []).append(event)
    return SimpleNamespace(nodes=found, cursor=result.cursor, skip_message=result.skip_message, all=result.asset_events)


def run(site: Site, blueprint_id: str, *numbers: int) -> list[str]:
    return [site.client.wait(site.client.start(blueprint_id, {"n": n}), 20).run_id for n in numbers]


def kinds_of(found: dict[str, list[Any]]) -> dict[str, str]:
    return {node_id: type(events[0]).__name__ for node_id, events in found.items()}


def test_nodes_that_ran_are_materialized_and_others_are_not(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    run(site, "branches", 1, 2)
    result = tick(site, catalogue)

    assert kinds_of(result.nodes) == {"choose": "AssetMaterialization", "left": "AssetMaterialization"}
    event, check = result.nodes["choose"]
    figures = {name: event.metadata[name].value for name in ("executions", "failures", "runs_read")}
    assert figures == {"executions": 2, "failures": 0, "runs_read": 2}
    assert event.metadata["duration_p95_seconds"].value >= 0
    assert check.passed
    (summary,) = [e for e in result.all if e.asset_key == catalogue.entries["branches"].key and "runs" in e.metadata]
    assert summary.metadata["batch_id"] == event.metadata["batch_id"]


def test_only_nodes_that_ran_since_the_last_tick_are_told_of(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    run(site, "branches", 1)
    first = tick(site, catalogue)
    run(site, "branches", 20)
    second = tick(site, catalogue, first.cursor)

    assert set(first.nodes) == {"choose", "left"}
    assert set(second.nodes) == {"choose", "right"}
    assert second.nodes["choose"][0].metadata["executions"].value == 1
    assert tick(site, catalogue, second.cursor).nodes == {}


def test_a_failed_node_is_not_green_and_its_check_names_run_node_and_error(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    (run_id,) = run(site, "branches", 0)
    result = tick(site, catalogue)

    assert kinds_of(result.nodes) == {"choose": "AssetObservation"}
    event, check = result.nodes["choose"]
    assert event.metadata["latest_failures"].records[0].data["error"] == "ValueError"
    assert (check.passed, check.severity) == (False, ERROR)
    assert check.description.startswith(f"run {run_id}, node 'choose': ValueError: nothing to choose by")
    for reported in result.all:
        site.instance.report_runless_asset_event(reported)
    assert site.instance.get_latest_materialization_event(event.asset_key) is None
    (summary,) = [e for e in result.all if "failing_node" in e.metadata]
    assert summary.metadata["failing_node"].asset_key == make_node_key("branches", "choose")


def test_a_node_that_recovered_is_green_again_and_still_says_what_failed(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    run(site, "branches", 0, 1)
    event, check = tick(site, catalogue).nodes["choose"]

    assert isinstance(event, dg.AssetMaterialization)
    assert (check.passed, check.severity) == (False, WARN)


def test_a_failure_that_a_fallback_took_over_is_a_warning(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    run(site, "recovers", 3)
    result = tick(site, catalogue)

    assert kinds_of(result.nodes) == {"risky": "AssetObservation", "instead": "AssetMaterialization"}
    assert (result.nodes["risky"][1].passed, result.nodes["risky"][1].severity) == (False, WARN)


def test_beyond_the_budget_what_failed_comes_first(site: Site, worker: WorkerThread, catalogue: Catalogue) -> None:
    run(site, "recovers", 3)
    result = tick(site, catalogue, node_events=3)

    assert set(result.nodes) == {"risky"}
    assert "1 nodes more than may be shown in a tick" in result.skip_message


def test_a_repeated_tick_tells_the_same_of_the_same_batch(
    site: Site, worker: WorkerThread, catalogue: Catalogue
) -> None:
    run(site, "branches", 1)
    lost, repeated = tick(site, catalogue), tick(site, catalogue)

    assert [e.metadata["batch_id"] for e in (lost.nodes["left"][0], repeated.nodes["left"][0])] == [
        lost.nodes["left"][0].metadata["batch_id"]
    ] * 2
    assert lost.cursor is not None


def test_the_check_can_be_executed_too(site: Site, worker: WorkerThread, catalogue: Catalogue) -> None:
    run(site, "branches", 0)
    entry = catalogue.entries["branches"]
    judged = judge_nodes(site.connection, entry, Presenter(), CheckLimits())
    definitions = build_flowcraft_definitions(SAMPLE_APP, backend=site.resource.backend, node_assets=["branches"])
    keys = {dg.AssetCheckKey(spec.key, "node_succeeds") for spec in entry.nodes.values()}
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection=keys
    )
    result = job.execute_in_process(instance=site.instance)

    assert {node_id: judgement.passed for node_id, judgement in judged.items()} == {
        "choose": False,
        "left": True,
        "right": True,
    }
    assert {event.asset_key.path[-1]: event.passed for event in result.get_asset_check_evaluations()} == {
        "choose": False,
        "left": True,
        "right": True,
    }
