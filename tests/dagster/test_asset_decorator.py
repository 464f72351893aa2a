"""``@flowcraft_assets``: a workflow between two assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.asset_decorator import flowcraft_assets
from flowcraft_dagster.orchestration.labels import CLIENT_KEY
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource, FlowcraftClientResource
from tests.dagster.conftest import HOME_VARIABLE, SAMPLE_APP, Site, WorkerThread
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
    resources = {CLIENT_KEY: site.resource, "io_manager": dg.mem_io_manager, **more.pop("resources", {})}
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


def test_the_partitions_of_one_run_reach_the_workflow_as_a_range(site: Site, worker: WorkerThread) -> None:
    days = dg.StaticPartitionsDefinition(["monday", "tuesday", "wednesday"])

    @flowcraft_assets(
        blueprint_id=SUM,
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        outputs={"seen": "dagster"},
    )
    def by_days() -> dict[str, Any]:
        return {"n": 1}

    tags = {"dagster/asset_partition_range_start": "monday", "dagster/asset_partition_range_end": "tuesday"}
    result = materialize(site, by_days, tags=tags)

    (header,) = site.client.runs()
    seen = site.client.result(header.run_id).context["dagster"]
    assert result.success
    assert seen["partitionKeyRange"] == {"start": "monday", "end": "tuesday"}
    assert seen["tags"] == {}


def test_the_function_takes_resources_the_context_and_what_it_only_depends_on(
    site: Site, worker: WorkerThread
) -> None:
    class Factor(dg.ConfigurableResource):  # type: ignore[type-arg]
        value: int

    @dg.asset
    def before() -> None:
        """Comes first and hands nothing on."""

    def make(context, factor, flowcraft, number):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        assert flowcraft.get_client() is site.client
        return {"n": number * factor.value, "asked_by": context.op_execution_context.op.name}

    make.__annotations__ = {
        "context": dg.AssetExecutionContext,
        "factor": Factor,
        "flowcraft": FlowcraftClientResource,
        "number": int,
    }
    tripled = flowcraft_assets(blueprint_id="400", name="tripled", deps=[before])(make)
    result = materialize(site, number, before, tripled, resources={"factor": Factor(value=3)})

    assert result.success
    assert result.asset_value("tripled")["step1"] == 30
    assert tripled.asset_deps[dg.AssetKey("tripled")] == {dg.AssetKey("before"), dg.AssetKey("number")}
    (header,) = site.client.runs()
    assert site.client.result(header.run_id).context["asked_by"] == "tripled"


INPUTS: list[int] = []
FAILURES: list[bool] = []
HANDED_ON: list[int] = []
"""What the assets of the repeated job find, one entry an execution: a repeated run loads its job anew."""


@dg.asset
def changing() -> int:
    """What upstream says now."""
    return INPUTS.pop(0)


@flowcraft_assets(blueprint_id="400")
def worked(changing: int) -> dict[str, Any]:
    """The workflow between them."""
    return {"n": changing}


@dg.asset
def fragile(worked: dict[str, Any]) -> None:
    """Fails after the workflow, where it is told to."""
    if FAILURES.pop(0):
        raise ValueError("not yet")
    HANDED_ON.append(worked["step2"])


def make_repeated_job() -> dg.JobDefinition:
    backend = EmbeddedStoreResource(home=dg.EnvVar(HOME_VARIABLE), synchronous="NORMAL")
    definitions = dg.Definitions(
        assets=[changing, worked, fragile],
        jobs=[dg.define_asset_job("repeated", executor_def=dg.in_process_executor)],
        resources=build_flowcraft_resources(SAMPLE_APP, backend),
    )
    return definitions.resolve_job_def("repeated")


@pytest.mark.parametrize(("inputs", "outputs"), [([5, 5], [20]), ([5, 6], [20, 24])], ids=["same", "others"])
def test_a_dagster_run_that_repeats_another_takes_up_its_workflow_only_for_the_same_inputs(
    site: Site, worker: WorkerThread, tmp_path: Path, inputs: list[int], outputs: list[int]
) -> None:
    INPUTS[:], FAILURES[:], HANDED_ON[:] = inputs, [True, False], []
    job = dg.reconstructable(make_repeated_job)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with dg.execute_job(job, instance) as first:
            assert not first.success
        options = dg.ReexecutionOptions(parent_run_id=first.run_id)
        with dg.execute_job(job, instance, reexecution_options=options) as second:
            assert second.success

    assert outputs[-1:] == HANDED_ON
    workflows = sorted(site.client.runs(), key=lambda header: header.started_at)
    assert [site.client.result(header.run_id).outputs["step2"] for header in workflows] == outputs


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
