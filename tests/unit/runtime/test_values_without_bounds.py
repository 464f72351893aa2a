"""A blueprint can nest and repeat without any code of its own: its run fails, and the worker goes on."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from flowcraft_dagster.engine.builtins import MOST_LEVELS
from flowcraft_dagster.engine.json_codec import MAX_DEPTH, check_depth, encode
from flowcraft_dagster.engine.node import NodeContext
from flowcraft_dagster.errors import SerializationError
from flowcraft_dagster.ports.records import RunHeader
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.testing.simulation import SimulatedCluster
from tests.unit.runtime.stage import flow, make_app, node, play


def _nest(levels: int) -> Any:
    value: Any = "[" * MAX_DEPTH
    for level in range(levels):
        value = [value] if level % 2 else {'"': value, "]": 1}
    return value


async def _deep(ctx: NodeContext) -> Any:
    return _nest(int(ctx.context["levels"]))


async def _large(ctx: NodeContext) -> str:
    return "x" * 200_000


def _run(blueprint: dict[str, Any], context: dict[str, Any], **options: Any) -> RunResult:
    async def story(cluster: SimulatedCluster) -> RunResult:
        run_id = await cluster.client.start(StartRequest("main", context))
        return await cluster.client.wait(run_id, 100_000)

    return play(make_app(blueprint, deep=_deep, large=_large), story, **options)


def _transform(uses: str, *transforms: str) -> dict[str, Any]:
    blueprint = flow(node("a", uses), *(node(f"z{place}", "add") for place in range(len(transforms))))
    blueprint["edges"] = [
        {"source": "a", "target": f"z{place}", "transform": text} for place, text in enumerate(transforms)
    ]
    return blueprint


def test_a_transform_that_nests_too_deep_fails_its_run() -> None:
    result = _run(_transform("deep", "[[[input]]]"), {"levels": MAX_DEPTH - 2})

    assert (result.status, result.failed_nodes) == ("failed", ("a",))
    assert "nested deeper than 200 levels" in result.errors[0].message


def test_a_loop_of_built_in_nodes_cannot_nest_without_end() -> None:
    step = {**node("step", "sleep", duration=0), "inputs": {"x": "step"}}
    blueprint = flow(node("loop", "loop-controller", condition="true"), step, edges="step>loop")
    blueprint["edges"].append({"source": "loop", "target": "step", "action": "continue"})
    result = _run(blueprint, {})

    assert (result.status, result.failed_nodes) == ("failed", ("step",))
    assert "nested deeper than 200 levels" in result.errors[0].message
    encode(result.to_json())


def test_a_blueprint_that_always_runs_itself_comes_to_an_end() -> None:
    async def story(cluster: SimulatedCluster) -> tuple[RunResult, list[RunHeader]]:
        run_id = await cluster.client.start(StartRequest("main", {}))
        result = await cluster.client.wait(run_id, 100_000)
        page = await cluster.client.backend.index.scan_finished_runs(None, 1e12, 1000)
        return result, list(page.headers)

    result, headers = play(make_app(flow(node("again", "subflow", blueprintId="main"))), story)

    assert (result.status, result.failed_nodes) == ("failed", ("again",))
    assert sum("may run itself without end" in str(header.reason) for header in headers) >= 1
    assert len(result.errors[0].message) < 5000
    assert len(headers) == MOST_LEVELS + 1
    assert {header.status for header in headers} == {"failed"}


@pytest.mark.parametrize(("items", "status"), [(30, "completed"), (31, "failed")])
def test_a_batch_of_too_many_items_fails_its_run(items: int, status: str) -> None:
    scatter = {**node("scatter", "batch-scatter", workerUsesKey="add", gatherNodeId="gather"), "inputs": "list"}
    blueprint = flow(scatter, node("gather", "batch-gather", outputKey="sums"), edges="scatter>gather")
    result = _run(blueprint, {"list": [1] * items}, max_batch_items=30)

    assert result.status == status
    if status == "failed":
        (failure,) = result.errors
        assert (failure.node_id, failure.fatal) == ("scatter", True)
        assert "has 31 items, over the limit of 30" in failure.message
    else:
        assert len(result.context["sums"]) == items


@pytest.mark.parametrize(
    "transforms",
    [["[" + ",".join(["input"] * 600) + "]"], ["[" + ",".join(["context"] * 500) + "]"], ["[input]"] * 400],
    ids=["input", "context", "many edges"],
)
def test_transforms_that_repeat_a_large_value_take_no_memory(transforms: list[str]) -> None:
    tracemalloc.start()
    try:
        result = _run(_transform("large", *transforms), {"given": "y" * 200_000}, max_output_bytes=250_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (result.status, result.failed_nodes) == ("failed", ("a",))
    assert "over the limit of 750000" in result.errors[0].message
    assert most < 20_000_000


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_only_levels_count_and_not_brackets(levels: int) -> None:
    data = encode([_nest(levels - 1)] * 3)
    if levels <= MAX_DEPTH:
        check_depth(data, "value")
    else:
        with pytest.raises(SerializationError, match="nested deeper than 200 levels"):
            check_depth(data, "value")


def test_contexts_and_answers_of_too_many_levels_are_refused() -> None:
    async def story(cluster: SimulatedCluster) -> None:
        with pytest.raises(SerializationError, match="nested deeper"):
            await cluster.client.start(StartRequest("main", {"levels": _nest(MAX_DEPTH)}))
        run_id = await cluster.client.start(StartRequest("main", {}))
        await cluster.client.wait_for_pause(run_id)
        with pytest.raises(SerializationError, match="nested deeper"):
            await cluster.client.resume(run_id, node="w", output=_nest(MAX_DEPTH))

    play(make_app(flow(node("w", "wait"))), story)


def test_what_is_stored_can_be_shown() -> None:
    result = _run(flow(node("a", "deep")), {"levels": MAX_DEPTH})

    assert result.status == "completed"
    encode([result.to_json()])
