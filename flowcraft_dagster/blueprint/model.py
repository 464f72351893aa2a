"""What a blueprint is: nodes, edges and their configuration, as immutable values.

The JSON form is Flowcraft's; :mod:`flowcraft_dagster.blueprint.parse` reads and checks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypedDict

import orjson

JoinStrategy = Literal["all", "any"]

BUILT_IN_KINDS: dict[str, str] = {
    "wait": "wait",
    "WaitNode": "wait",
    "sleep": "sleep",
    "SleepNode": "sleep",
    "webhook": "webhook",
    "WebhookNode": "webhook",
    "subflow": "subflow",
    "SubflowNode": "subflow",
    "batch-scatter": "batch-scatter",
    "batch-gather": "batch-gather",
    "loop-controller": "loop-controller",
}
"""Accepted names of the built-in node kinds, mapped to the one the engine uses."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How a node is run.

    Attributes:
        max_retries: the total of attempts, at least 1 for the node to run at all.
        retry_delay: milliseconds before the second attempt.
        retry_backoff: factor on the delay for every further attempt.
        retry_max_delay: upper bound of the delay in milliseconds.
        timeout: milliseconds an attempt may take; for a sub-flow the whole child. None: no limit.
        fallback: id of the node that takes over when this one has failed for good.
        join_strategy: whether ``all`` sources or ``any`` edge starts the node.
    """

    max_retries: int = 1
    retry_delay: float = 0
    retry_backoff: float = 1
    retry_max_delay: float | None = None
    timeout: float | None = None
    fallback: str | None = None
    join_strategy: JoinStrategy = "all"


class NodeOptions(TypedDict, total=False):
    """The fields of :class:`NodeConfig` as keyword arguments."""

    max_retries: int
    retry_delay: float
    retry_backoff: float
    retry_max_delay: float | None
    timeout: float | None
    fallback: str | None
    join_strategy: JoinStrategy


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node of a blueprint.

    Attributes:
        id: unique within the blueprint; any text.
        uses: key of the implementation in the registry, or a built-in kind.
        params: static parameters, JSON.
        inputs: where the input comes from: one name, or a mapping of names; None takes the edge's value.
        config: how the node is run.
    """

    id: str
    uses: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: str | Mapping[str, str] | None = None
    config: NodeConfig = NodeConfig()

    @property
    def kind(self) -> str | None:
        """The built-in kind this node is, or None for a registered one."""
        return BUILT_IN_KINDS.get(self.uses)


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """One edge. ``action`` and ``condition`` are None when absent or empty; ``transform`` only when absent."""

    source: str
    target: str
    action: str | None = None
    condition: str | None = None
    transform: str | None = None


@dataclass(frozen=True)
class Blueprint:
    """A workflow graph.

    Attributes:
        id: name under which runs are started.
        nodes: in the order of the file.
        edges: in the order of the file; that order decides ties.
        metadata: free; ``version`` and ``cycleEntryPoints`` are known.
    """

    id: str
    nodes: tuple[NodeSpec, ...]
    edges: tuple[EdgeSpec, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, NodeSpec]:
        """Nodes by their id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON form, 64 hexadecimal digits; equal for equal blueprints."""
        canonical = orjson.dumps(_unify_numbers(self.to_json()), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()

    @property
    def version(self) -> str | None:
        """``metadata.version`` as text, or None."""
        version = self.metadata.get("version")
        return None if version is None else str(version)

    def to_json(self) -> dict[str, Any]:
        """The blueprint in Flowcraft's JSON form; absent fields are left out."""
        document: dict[str, Any] = {
            "id": self.id,
            "nodes": [_node_to_json(node) for node in self.nodes],
            "edges": [_edge_to_json(edge) for edge in self.edges],
        }
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document


def _unify_numbers(value: Any) -> Any:
    # JavaScript has one kind of number: a copy that passed through it says 1 where this one says 1.0.
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, Mapping):
        return {key: _unify_numbers(item) for key, item in value.items()}
    return [_unify_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


_CONFIG_NAMES = (
    ("max_retries", "maxRetries"),
    ("retry_delay", "retryDelay"),
    ("retry_backoff", "retryBackoff"),
    ("retry_max_delay", "retryMaxDelay"),
    ("timeout", "timeout"),
    ("fallback", "fallback"),
    ("join_strategy", "joinStrategy"),
)
"""Python and JSON spelling of the fields of ``config``."""


def _node_to_json(node: NodeSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"id": node.id, "uses": node.uses}
    if node.params:
        document["params"] = dict(node.params)
    if node.inputs is not None:
        document["inputs"] = node.inputs if isinstance(node.inputs, str) else dict(node.inputs)
    default = NodeConfig()
    config = {
        name: getattr(node.config, attribute)
        for attribute, name in _CONFIG_NAMES
        if getattr(node.config, attribute) != getattr(default, attribute)
    }
    if config:
        document["config"] = config
    return document


def _edge_to_json(edge: EdgeSpec) -> dict[str, Any]:
    document = {"source": edge.source, "target": edge.target}
    for name in ("action", "condition", "transform"):
        value = getattr(edge, name)
        if value is not None:
            document[name] = value
    return document
