"""``@flowcraft_assets``: a workflow between two assets."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.asset_decorator import flowcraft_assets
from flowcraft_dagster.orchestration.labels import CLIENT_KEY
from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.sample_app import SUM


@dg.asset
def number() -> int:
    """What the workflow gets."""
    return 5


@flowcraft_assets(blueprint_id="400", group_name="numbers")
def doubled(number: int) -> dict[str, Any]:
    """The context of the workflow."""
    return {"n": number}


@dg.asset
def told(doubled: dict[str, Any]) -> str:
    """What is made of its outputs."""
    return f"{doubled['step1']} and {doubled['step2']}"


def materialize(site: Site, *assets: Any, **more: Any) -> Any:
    more.setdefault("raise_on_error", False)
    resources = {CLIENT_KEY: site.resource, "io_manager": dg.mem_io_manager}
    return dg.materialize(list(assets), instance=site.instance, resources=resources, **more)


def test_outputs_reach_downstream_assets(site: Site, worker: WorkerThread) -> None:
    result = materialize(site, number, doubled, told)

    assert result.success
    assert result.output_for_node("told") == "10 and 20"
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("doubled")]
    assert event.materialization.metadata["status"].value == "completed"


def test_each_asset_takes_an_output_or_a_value_of_the_context(site: Site, worker: WorkerThread) -> None:
    @flowcraft_assets(
        blueprint_id="400",
        outputs={"sums/first": "step1", "given": "n", "never": "no_such_node"},
        specs=[dg.AssetSpec(["sums", "first"], owners=["team:sums"])],
    )
    def parts() -> dict[str, Any]:
        return {"n": 4}

    result = materialize(site, parts)

    assert result.success
    assert {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()} == {"sums/first", "given"}
    assert result.asset_value(dg.AssetKey(["sums", "first"])) == 8
    assert result.asset_value("given") == 4


def test_partition_and_tags_reach_the_workflow(site: Site, worker: WorkerThread) -> None:
    days = dg.StaticPartitionsDefinition(["monday", "tuesday"])

    @flowcraft_assets(blueprint_id=SUM, partitions_def=days, outputs={"seen": "dagster"})
    def by_day() -> dict[str, Any]:
        return {"n": 1}

    result = materialize(site, by_day, partition_key="tuesday", tags={"team": "sums"})

    seen = result.asset_value("seen")
    assert (seen["partitionKey"], seen["tags"]["team"], seen["runId"]) == ("tuesday", "sums", result.run_id)


def test_a_failed_workflow_fails_the_asset(site: Site, worker: WorkerThread) -> None:
    @flowcraft_assets(blueprint_id="fails")
    def broken() -> dict[str, Any]:
        return {"n": 1}

    result = materialize(site, broken)

    assert not result.success
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "ValueError: cannot read 1" in event.event_specific_data.user_failure_data.description


def test_a_spec_without_an_output_is_refused() -> None:
    with pytest.raises(ValueError, match="specs without an entry in outputs: other"):
        flowcraft_assets(blueprint_id="400", specs=[dg.AssetSpec("other")])(lambda: {})
