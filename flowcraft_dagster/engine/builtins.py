"""The built-in node kinds: wait, sleep, webhook, subflow, batch-scatter, batch-gather, loop-controller.

Each is a pure function of the blueprint, the context and the time: it either is done at once or begins to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowcraft_dagster.blueprint.durations import LONGEST_SECONDS, read_duration
from flowcraft_dagster.blueprint.model import Blueprint, NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import INPUT_PREFIX, OUTPUT_PREFIX, Snapshot, Stored
from flowcraft_dagster.engine.decide import NULL, RunState
from flowcraft_dagster.engine.inputs import join_members, resolve_name
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.loops import CONTINUE
from flowcraft_dagster.engine.outcome import Done, Waiting
from flowcraft_dagster.engine.plan import find_starts, make_plan
from flowcraft_dagster.engine.routing import Aftermath, ConditionScope, Report, evaluate_condition
from flowcraft_dagster.errors import BatchLimitExceeded, FatalNodeError, LoopLimitExceeded, NodeError

MOST_LEVELS: Final = 100
"""How deep sub-flows may be in sub-flows: a blueprint that always runs itself would make runs without end."""


@dataclass(frozen=True, slots=True)
class BuiltInStart:
    """Everything a built-in node may look at.

    Attributes:
        state: the run.
        activation: what starts.
        node: its node.
        run_id: the run.
        level: how many runs are above it, as the sub-flow of which it runs.
        attempt: which attempt, from 1.
        input: the resolved input; None where undefined.
        snapshot: the context as of now.
        now: seconds since 1970 UTC.
        find_blueprint: sub-blueprints by id; None for an unknown one.
        max_iterations: limit of iterations of a loop.
        max_batch_items: limit of items of a batch.
        report: takes events.
    """

    state: RunState
    activation: Activation
    node: NodeSpec
    run_id: str
    level: int
    attempt: int
    input: Stored | None
    snapshot: Snapshot
    now: float
    find_blueprint: Callable[[str], Blueprint | None]
    max_iterations: int
    max_batch_items: int
    report: Report


def start_built_in(start: BuiltInStart) -> Done | Waiting:
    """Run a built-in node.

    Raises:
        NodeError: it fails, for example for a malformed duration.
    """
    return _STARTERS[str(start.node.kind)](start)


def _start_wait(start: BuiltInStart) -> Waiting:
    event = start.node.params.get("eventName")
    return Waiting("wait", {"reason": "external_event"} | ({"eventName": event} if event else {}))


def _start_webhook(start: BuiltInStart) -> Waiting:
    return Waiting("webhook", {"reason": "webhook", "event": f"webhook:{start.activation.key}"})


def _start_sleep(start: BuiltInStart) -> Waiting:
    seconds = parse_duration(start.node.params.get("duration"), start.node.id)
    return Waiting("sleep", {"reason": "timer", "wakeAt": start.now + seconds}, value=start.input)


def parse_duration(duration: Any, node_id: str) -> float:
    """Seconds of a ``duration``.

    Raises:
        NodeError: it cannot be read.
    """
    seconds = read_duration(duration)
    if seconds is None:
        shown = repr(duration) if len(repr(duration)) <= 40 else f"{repr(duration)[:40]}..."
        raise NodeError(
            f"node '{node_id}': duration {shown} cannot be used; give milliseconds, or text like '30s' or '5m', "
            "and a hundred years at most"
        )
    return seconds


def _start_subflow(start: BuiltInStart) -> Waiting:
    params = start.node.params
    blueprint_id = params.get("blueprintId")
    if blueprint_id is None or blueprint_id == "":
        raise FatalNodeError(f"sub-flow '{start.node.id}' is missing the 'blueprintId' parameter")
    blueprint = start.find_blueprint(str(blueprint_id))
    if blueprint is None:
        raise FatalNodeError(
            f"sub-flow '{start.node.id}': blueprint '{blueprint_id}' not found in runtime registry"
        )
    if start.level >= MOST_LEVELS:
        raise FatalNodeError(
            f"sub-flow '{start.node.id}': {MOST_LEVELS} runs are above this one already; blueprint '{blueprint.id}' "
            "may run itself without end"
        )
    inputs = params.get("inputs")
    if isinstance(inputs, Mapping):
        members = {str(name): resolve_name(str(source), start.snapshot) for name, source in inputs.items()}
    else:
        starts = find_starts(blueprint) if start.input is not None else ()
        members = {INPUT_PREFIX + node_id: start.input for node_id in starts}
    details: dict[str, Any] = {
        "childRunId": derive_child_run_id(start.run_id, start.activation.key, start.attempt),
        "blueprintId": blueprint.id,
        "blueprintHash": blueprint.content_hash,
    }
    if start.node.config.timeout is not None:
        details["wakeAt"] = start.now + min(start.node.config.timeout / 1000, LONGEST_SECONDS)
    return Waiting(
        "subflow",
        details,
        value=Stored(join_members(members)),
        attempt=start.attempt,
    )


def derive_child_run_id(run_id: str, activation_key: str, attempt: int) -> str:
    """The id of a sub-flow's run: a hash of parent, activation and attempt, so that a repeated start is no new run."""
    digest = hashlib.sha256(f"{run_id}\0{activation_key}\0{attempt}".encode("utf-8", "surrogatepass"))
    return f"sub-{digest.hexdigest()[:32]}"


def map_subflow_output(
    node: NodeSpec,
    blueprint: Blueprint,
    find: Callable[[str], Stored | None],
    find_key: Callable[[str], Stored | None],
) -> tuple[Stored | None, tuple[tuple[str, Stored | None], ...]]:
    """A sub-flow's output and context writes, from the child's final context.

    Args:
        node: the sub-flow node.
        blueprint: the child's blueprint.
        find: reads the child's context by any name.
        find_key: reads a context key as it stands.

    Returns:
        The output, and what is written to the parent's context.
    """
    outputs = node.params.get("outputs")
    if isinstance(outputs, Mapping):
        members: dict[str, Stored | None] = {}
        for parent_key, child_key in outputs.items():
            value = find(OUTPUT_PREFIX + str(child_key))
            if value is None or value.data == b"null":
                plain = None if str(child_key).startswith("_") else find_key(str(child_key))
                value = value if plain is None else plain
            members[str(parent_key)] = value
        writes = tuple((key, value) for key, value in members.items() if value is not None)
        return Stored(join_members(members)), writes
    terminals = make_plan(blueprint).terminals
    if len(terminals) == 1:
        return find(OUTPUT_PREFIX + terminals[0]), ()
    return Stored(join_members({node_id: find(OUTPUT_PREFIX + node_id) for node_id in terminals})), ()


def _start_scatter(start: BuiltInStart) -> Waiting:
    params = start.node.params
    for name in ("workerUsesKey", "gatherNodeId"):
        if not params.get(name):
            raise NodeError(f"batch '{start.node.id}' is missing the '{name}' parameter")
    items = [] if start.input is None else start.input.peek()
    if items in (None, "", 0, False):
        items = []
    if not isinstance(items, list):
        raise NodeError(f"batch '{start.node.id}' needs a list as its input, not {type(items).__name__}")
    if len(items) > start.max_batch_items:
        raise BatchLimitExceeded(node_id=start.node.id, items=len(items), limit=start.max_batch_items)
    chunk = params.get("chunkSize")
    size = int(chunk) if isinstance(chunk, (int, float)) and not isinstance(chunk, bool) and chunk >= 1 else 0
    details = {"chunkSize": size, "workerUsesKey": str(params["workerUsesKey"])}
    output = Stored(encode({"gatherNodeId": params["gatherNodeId"], "hasMore": False}))
    start.report("batch:start", {"scatterNodeId": start.node.id, "items": len(items)})
    return Waiting("batch-scatter", details, value=Stored(encode(items)), output=output)


def _start_gather(start: BuiltInStart) -> Done:
    collected = start.state.batch_results.collect(start.activation)
    results = Stored(b"[" + b",".join(value.data for value in collected) + b"]")
    key = start.node.params.get("outputKey") or start.node.id
    start.report("batch:finish", {"gatherNodeId": start.node.id})
    writes = () if key == start.node.id else ((str(key), results),)
    return Done(output=results, writes=writes)


def _start_controller(start: BuiltInStart) -> Done:
    condition = start.node.params.get("condition")
    scope = ConditionScope(Aftermath(start.snapshot, "", None, ()), None)
    if isinstance(condition, str) and evaluate_condition(condition, scope, start.report):
        if start.activation.iterations[-1] >= start.max_iterations:
            raise LoopLimitExceeded(node_id=start.node.id, limit=start.max_iterations)
        return Done(action=CONTINUE)
    return Done(output=NULL, action="break")


_STARTERS: dict[str, Callable[[BuiltInStart], Done | Waiting]] = {
    "wait": _start_wait,
    "webhook": _start_webhook,
    "sleep": _start_sleep,
    "subflow": _start_subflow,
    "batch-scatter": _start_scatter,
    "batch-gather": _start_gather,
    "loop-controller": _start_controller,
}
