"""From a decided activation to something that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcraft_dagster.blueprint.model import NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.builtins import BuiltInStart, start_built_in
from flowcraft_dagster.engine.execute import describe_failure
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.inputs import resolve_input
from flowcraft_dagster.engine.outcome import Failed, Outcome
from flowcraft_dagster.errors import NodeError
from flowcraft_dagster.runtime.commit import OwnedRun
from flowcraft_dagster.runtime.services import LaneServices


class NodeStarter:
    """Starts activations of one run.

    Args:
        services: what lanes share.
        run: the run.
        level: how many runs are above it.
    """

    def __init__(self, services: LaneServices, run: OwnedRun, level: int) -> None:
        self._services = services
        self._run = run
        self._level = level

    def start(self, activation: Activation) -> Execution | Outcome:
        """Resolve the input; run a built-in node at once, or prepare the execution of a registered one.

        Raises:
            NodeNotRegistered: this process has no implementation; nothing was started.
        """
        services, run = self._services, self._run
        node = self._find_node(activation)
        snapshot = run.state.take_snapshot(activation)
        implementation = None if node.kind else services.registry.find(node.uses)
        value = resolve_input(run.state, activation, snapshot)
        report = self._make_report(activation)
        attempt = run.state.next_attempt(activation.key)
        if attempt == 1:
            report("node:start", {"nodeId": node.id, "input": None if value is None else value.peek()})
        if implementation is not None:
            return Execution(
                run_id=run.run_id,
                blueprint_id=run.header.blueprint_id,
                node=node,
                activation=activation,
                implementation=implementation,
                input=value,
                snapshot=snapshot,
                first_attempt=attempt,
                report=report,
            )
        start = BuiltInStart(
            state=run.state,
            activation=activation,
            node=node,
            run_id=run.run_id,
            level=self._level,
            attempt=attempt,
            input=value,
            snapshot=snapshot,
            now=services.clock.now(),
            find_blueprint=services.blueprints.get,
            max_iterations=services.options.max_iterations,
            max_batch_items=services.options.max_batch_items,
            report=report,
        )
        try:
            return start_built_in(start)
        except NodeError as error:
            return Failed(describe_failure(node.id, activation.key, attempt, error, services.clock.now()))

    def is_built_in(self, activation: Activation) -> bool:
        """Whether starting the activation runs no user code."""
        return self._find_node(activation).kind is not None

    def _find_node(self, activation: Activation) -> NodeSpec:
        node = self._run.state.plan.node(activation.node_id)
        if activation.item is None:
            return node
        return NodeSpec(id=activation.key, uses=str(node.params["workerUsesKey"]))

    def _make_report(self, activation: Activation) -> Any:
        services, run = self._services, self._run
        ids = {"runId": run.run_id, "blueprintId": run.header.blueprint_id, "activation": activation.key}

        def report(kind: str, payload: Mapping[str, Any]) -> None:
            if services.listeners:
                services.emit(kind, ids | dict(payload))

        return report
