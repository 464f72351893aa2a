"""What a node gets as its input."""

from __future__ import annotations

from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import INPUT_PREFIX, OUTPUT_PREFIX, Snapshot, Stored
from flowcraft_dagster.engine.decide import RunState
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.values import UNDEFINED, walk_path


def resolve_input(state: RunState, activation: Activation, snapshot: Snapshot) -> Stored | None:
    """The input of an activation that is about to start; None where undefined.

    In this order: the item of a batch; with ``inputs``, the last taken edge's transform or else the names; a
    fallback's failed input; the edge that decided; for a start node ``_inputs.<id>`` of the initial context.
    """
    if activation.item is not None:
        scatter = Activation(activation.node_id, activation.iterations, cause=activation.cause)
        return Stored(encode(state.batches[scatter.key].items[activation.item]))
    selection = state.select_input(activation)
    inputs = state.plan.node(activation.node_id).inputs
    if inputs is not None and inputs != "":
        if selection.override is not None:
            return selection.override.value
        if isinstance(inputs, str):
            return resolve_name(inputs, snapshot)
        members = {name: resolve_name(source, snapshot) for name, source in inputs.items()}
        return Stored(join_members(members))
    caught = state.find_caught(activation)
    if caught is not None:
        return caught[0]
    if selection.default is not None:
        return selection.default.value
    return snapshot.find(INPUT_PREFIX + activation.node_id)


def resolve_name(name: str, snapshot: Snapshot) -> Stored | None:
    """What a name in ``inputs`` stands for; None where undefined.

    A name that starts with ``_`` is a context key as it stands. One with dots is a path into a node's output. Any
    other is a node's output or else a context key.
    """
    if name.startswith("_") or "." not in name:
        return snapshot.find(name)
    base, *path = name.split(".")
    output = snapshot.find(OUTPUT_PREFIX + base)
    if output is None:
        return None
    value = walk_path(output.peek(), path)
    return None if value is UNDEFINED else Stored(encode(value))


def join_members(members: dict[str, Stored | None]) -> bytes:
    """A JSON object of stored values; undefined ones are left out."""
    parts = [encode(name) + b":" + value.data for name, value in members.items() if value is not None]
    return b"{" + b",".join(parts) + b"}"


def read_for_user(stored: Stored | None) -> Any:
    """A private copy for user code; undefined reads as None."""
    return None if stored is None else stored.copy()
