"""Runs one activation of a registered node: attempts, delays, time-outs, middleware.

What a node raises is its own failure. Only the cancellation of the surrounding task leaves this module as an exception.
"""

from __future__ import annotations

import asyncio

from flowcraft_dagster.blueprint.model import NodeConfig
from flowcraft_dagster.engine.attempt import Attempt, Lifecycle
from flowcraft_dagster.engine.decide import LONGEST_INLINE_DELAY
from flowcraft_dagster.engine.execution import Execution, Workshop
from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.engine.node import Node
from flowcraft_dagster.engine.outcome import Failed, Outcome, Waiting
from flowcraft_dagster.errors import FatalNodeError

MAX_MESSAGE = 2000


async def execute(execution: Execution, workshop: Workshop) -> Outcome:
    """Run an activation until it is done, has failed for good, or waits long for its next attempt.

    Raises:
        asyncio.CancelledError: the execution was interrupted; nothing came of the attempt.
    """
    config = execution.node.config
    attempt = execution.first_attempt
    if config.max_retries < attempt:
        never = FatalNodeError(f"maxRetries is {config.max_retries}: the node was never called")
        return Failed(_describe(execution, attempt, never, workshop.time.now()))
    kind = execution.implementation
    lifecycle: Lifecycle | None = None
    if isinstance(kind, type) and issubclass(kind, Node):
        try:
            lifecycle = Lifecycle(kind, execution)
        except BaseException as broken:  # noqa: BLE001 - also its constructor is the node's own
            return Failed(_describe(execution, attempt, broken, workshop.time.now()))
    while True:
        attempted = Attempt(execution, workshop, attempt, lifecycle)
        error: BaseException
        try:
            done = await attempted.run()
            await attempted.recover()
            return done
        except asyncio.CancelledError as caught:
            if execution.interruption.is_requested:
                raise
            error = caught
        except GeneratorExit:
            raise
        except BaseException as caught:  # noqa: BLE001 - any error of a node is its own
            error = caught
        now = workshop.time.now()
        if isinstance(error, FatalNodeError) or attempted.is_last or attempt >= config.max_retries:
            await attempted.recover(error)
            return Failed(_describe(execution, attempt, error, now))
        execution.report("node:retry", {"nodeId": execution.node.id, "attempt": attempt, "error": _tell(error)})
        delay = find_delay(config, attempt)
        attempt += 1
        if delay > LONGEST_INLINE_DELAY:
            return Waiting("retry", {"reason": "retry", "wakeAt": now + delay}, attempt=attempt)
        if delay > 0:
            await workshop.time.sleep(delay)


def find_delay(config: NodeConfig, failed_attempt: int) -> float:
    """Seconds before the attempt after ``failed_attempt``.

    Example:
        >>> find_delay(NodeConfig(retry_delay=100, retry_backoff=2, retry_max_delay=300), 3)
        0.3
    """
    try:
        delay = config.retry_delay * config.retry_backoff ** (failed_attempt - 1)
    except OverflowError:
        delay = float("inf")
    if config.retry_max_delay is not None:
        delay = min(delay, config.retry_max_delay)
    return max(0.0, min(delay, 365 * 86400 * 1000.0)) / 1000


def _describe(execution: Execution, attempt: int, error: BaseException, now: float) -> NodeFailure:
    return describe_failure(execution.node.id, execution.activation.key, attempt, error, now)


def describe_failure(node_id: str, activation_key: str, attempt: int, error: BaseException, now: float) -> NodeFailure:
    """A failure as data; the exception itself goes no further."""
    message = _tell(error)
    return NodeFailure(
        node_id=node_id,
        activation=activation_key,
        attempt=attempt,
        type=type(error).__name__,
        message=message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "...",
        fatal=isinstance(error, FatalNodeError),
        at=now,
    )


def _tell(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - an exception's text is user code too
        return f"{type(error).__name__}, whose text cannot be read"
