"""A fluent way to write blueprints in Python: :class:`Flow`.

The builder only collects; :meth:`Flow.build` writes Flowcraft's JSON form and has it checked like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowcraft_dagster.blueprint.fields import CheckExpression
from flowcraft_dagster.blueprint.model import BUILT_IN_KINDS, Blueprint, EdgeSpec, NodeConfig, NodeOptions, NodeSpec
from flowcraft_dagster.blueprint.parse import parse_blueprint
from flowcraft_dagster.errors import BlueprintError

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class _Loop:
    start: str
    end: str


class Flow:
    """Builds one blueprint. Every method but the last ones returns the flow, so calls can be chained.

    Functions and Node classes are registered under their own name, which must therefore be the same in every
    process; see :attr:`nodes`. Options of a node are the fields of :class:`NodeConfig`: ``max_retries``,
    ``retry_delay``, ``retry_backoff``, ``retry_max_delay``, ``timeout`` (all times in milliseconds),
    ``fallback``, ``join_strategy``.

    Args:
        blueprint_id: the id of the blueprint.

    Example:
        >>> def fetch(ctx): return 20
        >>> def double(ctx): return ctx.input * 2
        >>> flow = Flow("sums").node("a", fetch).node("b", double, max_retries=3).edge("a", "b")
        >>> [node.uses for node in flow.build().nodes], sorted(flow.nodes)
        (['fetch', 'double'], ['double', 'fetch'])
    """

    def __init__(self, blueprint_id: str) -> None:
        self.id = blueprint_id
        self._nodes: dict[str, NodeSpec] = {}
        self._edges: list[EdgeSpec] = []
        self._loops: dict[str, _Loop] = {}
        self._batches: dict[str, None] = {}
        self._cycle_entries: dict[str, None] = {}
        self._implementations: dict[str, Callable[..., Any]] = {}

    def node(
        self,
        node_id: str,
        uses: str | Callable[..., Any],
        *,
        params: Mapping[str, Any] | None = None,
        inputs: str | Mapping[str, str] | None = None,
        **options: Unpack[NodeOptions],
    ) -> Flow:
        """Add a node.

        Args:
            node_id: unique in this flow.
            uses: a node kind, or its implementation: a function or a Node class with a name of its own.
            params: static parameters, JSON.
            inputs: a name (context key, node id or path such as ``fetch.user``), or input names with such names.
            options: how the node is run; see the class.

        Raises:
            BlueprintError: the id is taken, or the implementation has no name that is stable and free.
        """
        return self._add(NodeSpec(node_id, self._name_kind(node_id, uses), params or {}, inputs, NodeConfig(**options)))

    def edge(
        self,
        source: str,
        target: str,
        *,
        action: str | None = None,
        condition: str | None = None,
        transform: str | None = None,
    ) -> Flow:
        """Add an edge. Ids of batches and loops may be used like node ids; edges out of a loop leave it at its end.

        Args:
            source: a node id; it may be added later.
            target: a node id; it may be added later.
            action: follow the edge only when the source returns this action.
            condition: follow it only when this expression is true.
            transform: expression for the value the edge carries, instead of the source's output.
        """
        self._edges.append(EdgeSpec(source, target, action or None, condition or None, transform))
        return self

    def batch(
        self,
        batch_id: str,
        worker: str | Callable[..., Any],
        *,
        input_key: str,
        output_key: str | None = None,
        chunk_size: int | None = None,
    ) -> Flow:
        """Run a worker for every item of a list, then go on with the list of results, in item order.

        It becomes two nodes, ``<batch_id>_scatter`` and ``<batch_id>_gather``.

        Args:
            batch_id: name to use in edges.
            worker: node kind or implementation that gets one item as input.
            input_key: where the list is: a context key, node id or path.
            output_key: context key for the results; by default the gather node's id.
            chunk_size: how many items run at once; by default all.

        Raises:
            BlueprintError: an id is taken, or the worker has no name that is stable and free.
        """
        scatter, gather = f"{batch_id}_scatter", f"{batch_id}_gather"
        self._refuse_taken(batch_id)
        worker_kind = self._name_kind(batch_id, worker)
        output = {} if output_key is None else {"outputKey": output_key}
        chunks = {} if chunk_size is None else {"chunkSize": chunk_size}
        params = {"workerUsesKey": worker_kind, **output, "gatherNodeId": gather, **chunks}
        self._add(NodeSpec(scatter, "batch-scatter", params, input_key))
        self._add(NodeSpec(gather, "batch-gather", {**output, "gatherNodeId": gather}))
        self._batches[batch_id] = None
        return self.edge(scatter, gather)

    def loop(self, loop_id: str, *, start: str, end: str, condition: str) -> Flow:
        """Repeat the nodes from ``start`` to ``end`` while ``condition`` is true; it is tested before each round.

        ``start`` gets what came into the loop, in later rounds the output of ``end``. So do nodes behind the loop.

        Args:
            loop_id: name to use in edges: into it to enter the loop, out of it to go on after it.
            start: first node of the body; it may be added later.
            end: last node of the body; it may be added later.
            condition: expression on the run's context.

        Raises:
            BlueprintError: the id is taken.
        """
        self._add(
            NodeSpec(loop_id, "loop-controller", {"condition": condition}, config=NodeConfig(join_strategy="any"))
        )
        self._loops[loop_id] = _Loop(start, end)
        self.edge(end, loop_id)
        return self.edge(loop_id, start, action="continue", transform=_read_loop_input(loop_id))

    def subflow(
        self,
        node_id: str,
        blueprint_id: str,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        **options: Unpack[NodeOptions],
    ) -> Flow:
        """Run another blueprint as a child run.

        Args:
            node_id: unique in this flow.
            blueprint_id: the other blueprint.
            inputs: context keys of the child, with the key or node id here that each is taken from; by default
                the child's start nodes get this node's input.
            outputs: context keys here, with the key or node id of the child that each is taken from.
            options: how the node is run; see the class. ``timeout`` limits the whole child.

        Raises:
            BlueprintError: the id is taken.
        """
        params: dict[str, Any] = {"blueprintId": blueprint_id}
        if inputs is not None:
            params["inputs"] = dict(inputs)
        if outputs is not None:
            params["outputs"] = dict(outputs)
        return self._add(NodeSpec(node_id, "subflow", params, config=NodeConfig(**options)))

    def wait(
        self,
        node_id: str,
        *,
        event_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Unpack[NodeOptions],
    ) -> Flow:
        """Wait for an answer from outside; the answer is the node's output.

        Args:
            node_id: unique in this flow.
            event_name: what is waited for, for people to read.
            params: further static parameters.
            options: how the node is run; see the class.

        Raises:
            BlueprintError: the id is taken.
        """
        event = {} if event_name is None else {"eventName": event_name}
        return self._add(NodeSpec(node_id, "wait", {**(params or {}), **event}, config=NodeConfig(**options)))

    def sleep(self, node_id: str, duration: float | str | timedelta, **options: Unpack[NodeOptions]) -> Flow:
        """Wait for a time; the output is the input.

        Args:
            node_id: unique in this flow.
            duration: milliseconds, or text such as ``"30s"``, ``"5m"``, ``"2h"``, ``"1d"``, or a timedelta.
            options: how the node is run; see the class.

        Raises:
            BlueprintError: the id is taken.
        """
        if isinstance(duration, timedelta):
            duration = duration // timedelta(milliseconds=1)
        return self._add(NodeSpec(node_id, "sleep", {"duration": duration}, config=NodeConfig(**options)))

    def webhook(self, node_id: str, *, params: Mapping[str, Any] | None = None, **options: Unpack[NodeOptions]) -> Flow:
        """Wait for an HTTP request; its body is the output.

        Args:
            node_id: unique in this flow.
            params: static parameters.
            options: how the node is run; see the class.

        Raises:
            BlueprintError: the id is taken.
        """
        return self._add(NodeSpec(node_id, "webhook", params or {}, config=NodeConfig(**options)))

    def cycle_entry(self, node_id: str) -> Flow:
        """Name a node where a run may begin if all nodes lie on cycles."""
        self._cycle_entries[node_id] = None
        return self

    @property
    def nodes(self) -> Mapping[str, Callable[..., Any]]:
        """The implementations handed to this flow, by the name they are registered under. Give them to the app."""
        return MappingProxyType(self._implementations)

    def build(self, *, check_expression: CheckExpression | None = None) -> Blueprint:
        """The finished, checked blueprint. The flow stays as it is and can be built again.

        Args:
            check_expression: see :func:`parse_blueprint`.

        Raises:
            BlueprintError: the flow has no nodes, a loop names a node that is not there, or see
                :func:`parse_blueprint`.
        """
        if not self._nodes:
            raise BlueprintError("has no nodes", blueprint_id=self.id)
        for loop_id, loop in self._loops.items():
            for role, node_id in (("start", loop.start), ("end", loop.end)):
                if node_id not in self._nodes and node_id not in self._batches:
                    raise BlueprintError(
                        f"the loop's {role} node '{node_id}' is not there", blueprint_id=self.id, node_id=loop_id
                    )
        metadata = {"cycleEntryPoints": list(self._cycle_entries)} if self._cycle_entries else {}
        draft = Blueprint(self.id, tuple(self._nodes.values()), tuple(self._wire_edges()), metadata)
        return parse_blueprint(draft.to_json(), check_expression=check_expression)

    def _wire_edges(self) -> list[EdgeSpec]:
        """Edges out of loops first, then those at batches, then the others: the order Flowcraft's builder gives."""
        loops = {loop_id: index for index, loop_id in enumerate(self._loops)}
        batches = {batch_id: index for index, batch_id in enumerate(self._batches)}

        def rank(edge: EdgeSpec) -> tuple[int, int, int]:
            if edge.source in loops and edge.target != self._loops[edge.source].start:
                return 0, loops[edge.source], 0
            into = [(1, batches[edge.target], 0)] if edge.target in batches else []
            out = [(1, batches[edge.source], 1)] if edge.source in batches else []
            return min(into + out, default=(2, 0, 0))

        ordered = sorted(self._edges, key=rank)
        return [self._name_ends(_leave_loop(edge) if rank(edge)[0] == 0 else edge) for edge in ordered]

    def _name_ends(self, edge: EdgeSpec) -> EdgeSpec:
        source = f"{edge.source}_gather" if edge.source in self._batches else edge.source
        target = f"{edge.target}_scatter" if edge.target in self._batches else edge.target
        return EdgeSpec(source, target, edge.action, edge.condition, edge.transform)

    def _add(self, node: NodeSpec) -> Flow:
        self._refuse_taken(node.id)
        self._nodes[node.id] = node
        return self

    def _refuse_taken(self, node_id: str) -> None:
        if node_id in self._nodes or node_id in self._batches:
            raise BlueprintError("the id is taken already", blueprint_id=self.id, node_id=node_id, field="id")

    def _name_kind(self, node_id: str, uses: str | Callable[..., Any]) -> str:
        if isinstance(uses, str):
            return uses
        name = str(getattr(uses, "__name__", ""))
        if not callable(uses) or not name.isidentifier():
            reason = "needs a function or class with a name of its own; register others by a name and give that"
        elif name in BUILT_IN_KINDS:
            reason = f"'{name}' is the name of a built-in node kind; rename the function or class"
        elif self._implementations.setdefault(name, uses) != uses:
            reason = f"another function or class of this flow is named '{name}' too; rename one"
        else:
            return name
        raise BlueprintError(reason, blueprint_id=self.id, node_id=node_id, field="uses")


def _leave_loop(edge: EdgeSpec) -> EdgeSpec:
    transform = _read_loop_input(edge.source) if edge.transform is None else edge.transform
    return EdgeSpec(edge.source, edge.target, edge.action or "break", edge.condition, transform)


def _read_loop_input(loop_id: str) -> str:
    """Expression for what came into the loop's controller last.

    That is the loop's input in the first round and the output of the body's last node afterwards, also when it is
    null and when the loop lies in another loop; the last node's own key would be stale or absent there.
    """
    return f"context[{json.dumps(f'_inputs.{loop_id}', ensure_ascii=False)}]"
