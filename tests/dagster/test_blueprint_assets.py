"""Materializing a blueprint's asset: a run, its result, and what happens when it does not complete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.sample_app import SUM


def failure_of(result: Any) -> str:
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    text: str = event.event_specific_data.user_failure_data.description
    return text


@pytest.mark.parametrize("blueprint_id", ["400", SUM, "parent"])
def test_materialize_starts_a_run_and_records_it(site: Site, worker: WorkerThread, blueprint_id: str) -> None:
    result = site.materialize(blueprint_id, {"context": {"n": 3}})

    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    header = site.client.status(metadata["run_id"].value)
    assert (header.blueprint_id, header.status) == (blueprint_id, "completed")
    assert header.run_id.startswith(result.run_id)


def test_a_failed_run_leaves_the_asset_as_it_was(site: Site, worker: WorkerThread) -> None:
    result = site.materialize("fails", {"context": {"n": 3}})

    assert "node 'step1': ValueError: cannot read 3" in failure_of(result)
    assert result.get_asset_materialization_events() == []


def test_a_run_that_waits_too_long_goes_on(site: Site, worker: WorkerThread) -> None:
    result = site.materialize("waits", {"context": {"n": 3}, "timeout_seconds": 1.5})

    assert "is still awaiting after 1.5 s" in failure_of(result)
    (header,) = site.client.runs()
    assert header.status == "awaiting"


def test_the_example_context_is_used_without_a_config(site: Site, worker: WorkerThread) -> None:
    result = site.materialize("parent")

    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["outputs"].value == {"child": {"result": 12}}


def test_secrets_are_not_shown(site: Site, worker: WorkerThread) -> None:
    result = site.materialize("parent", {"context": {"n": 3, "api_key": "k-123"}})

    assert "k-123" not in str([event.materialization.metadata for event in result.get_asset_materialization_events()])
