"""Executions and outcomes as JSON, to be handed to another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from flowcraft_dagster.blueprint.model import NodeConfig, NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import CATCH_ERROR, Snapshot, Stored
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.node import ContextReader
from flowcraft_dagster.engine.outcome import Done, Failed, Outcome, Waiting
from flowcraft_dagster.engine.values import UNDEFINED

_CONFIG = ("max_retries", "retry_delay", "retry_backoff", "retry_max_delay", "timeout", "fallback", "join_strategy")


class NamedActivation(Activation):
    """An activation known by its key alone."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.__dict__["key"] = key


class MappingReader:
    """A context reader over a plain mapping."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {key: encode(value) for key, value in values.items()}

    def read(self, key: str) -> Any:
        """A private copy of the value, or ``UNDEFINED``."""
        data = self._values.get(key)
        return UNDEFINED if data is None else orjson.loads(data)

    def keys(self) -> Iterator[str]:
        """Keys with a value."""
        return iter(self._values)


def encode_execution(execution: Execution) -> bytes:
    """An execution as one line of JSON, its whole context included."""
    context = _copy_context(execution.snapshot)
    node = execution.node
    return encode(
        {
            "runId": execution.run_id,
            "blueprintId": execution.blueprint_id,
            "node": {"id": node.id, "uses": node.uses, "params": dict(node.params)},
            "config": {name: getattr(node.config, name) for name in _CONFIG},
            "activation": execution.activation.key,
            "firstAttempt": execution.first_attempt,
            "input": None if execution.input is None else [orjson.Fragment(execution.input.data)],
            "context": {name: orjson.Fragment(value.data) for name, value in context.items() if value is not None},
        }
    )


def _copy_context(reader: ContextReader) -> dict[str, Stored | None]:
    if not isinstance(reader, Snapshot):
        return {name: Stored(encode(reader.read(name))) for name in list(reader.keys())}
    return {name: reader.find(name) for name in (*reader.keys(), CATCH_ERROR, *reader.node_ids)}


def describe_node(document: Mapping[str, Any]) -> NodeSpec:
    """The node of an encoded execution."""
    node = document["node"]
    return NodeSpec(node["id"], node["uses"], node["params"], None, NodeConfig(**document["config"]))


def encode_outcome(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    if isinstance(outcome, Done):
        return {
            "kind": "done",
            "output": _wrap(outcome.output),
            "action": outcome.action,
            "writes": [[key, _wrap(value)] for key, value in outcome.writes],
            "attempt": outcome.attempt,
        }
    if isinstance(outcome, Failed):
        return {"kind": "failed", "failure": outcome.failure.to_json()}
    return {"kind": "waiting", "waits": outcome.kind, "details": dict(outcome.details), "attempt": outcome.attempt}


def read_outcome(document: Mapping[str, Any]) -> Outcome:
    """The inverse of :func:`encode_outcome`."""
    if document["kind"] == "done":
        return Done(
            output=_unwrap(document["output"]),
            action=document["action"],
            writes=tuple((key, _unwrap(value)) for key, value in document["writes"]),
            attempt=document["attempt"],
        )
    if document["kind"] == "failed":
        return Failed(NodeFailure.from_json(document["failure"]))
    return Waiting(document["waits"], document["details"], attempt=document["attempt"])


def _wrap(value: Stored | None) -> list[Any] | None:
    return None if value is None else [orjson.Fragment(value.data)]


def _unwrap(value: list[Any] | None) -> Stored | None:
    return None if value is None else Stored(encode(value[0]))
