"""Runs one activation of a registered node: attempts, delays, time-outs, middleware.

What a node raises is its own failure. Only the cancellation of the surrounding task leaves this module as an exception.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from flowcraft_dagster.blueprint.model import NodeConfig, NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.decide import LONGEST_INLINE_DELAY
from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.engine.inputs import read_for_user
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.node import ContextReader, Middleware, Node, NodeContext, NodeResult, RunContext
from flowcraft_dagster.engine.outcome import Done, Failed, Outcome, Waiting
from flowcraft_dagster.engine.registry import Implementation
from flowcraft_dagster.engine.routing import Report
from flowcraft_dagster.engine.threads import SyncThreads
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FatalNodeError, NodeTimeout, SizeLimitExceeded

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_MESSAGE = 2000
_CLEAN_UP_SECONDS = 0.5


class Time(Protocol):
    """The part of the clock that executing needs."""

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """What executions share within a process.

    Attributes:
        threads: where sync functions run.
        time: the clock.
        dependencies: injected into every node context.
        middleware: outermost first.
        max_output_bytes: limit of one output or context value.
    """

    threads: SyncThreads
    time: Time
    dependencies: Mapping[str, Any] = field(repr=False)
    middleware: Sequence[Middleware]
    max_output_bytes: int


@dataclass(frozen=True, slots=True)
class Execution:
    """One activation to run.

    Attributes:
        run_id, blueprint_id: the run.
        node: its node, or for a batch item the worker's.
        activation: the execution slot.
        implementation: what to call.
        input: the resolved input; None where undefined.
        snapshot: the context as of now.
        first_attempt: above 1 after a delayed retry.
        report: takes events.
    """

    run_id: str
    blueprint_id: str
    node: NodeSpec
    activation: Activation
    implementation: Implementation
    input: Stored | None
    snapshot: ContextReader
    first_attempt: int
    report: Report


async def execute(execution: Execution, workshop: Workshop) -> Outcome:
    """Run an activation until it is done, has failed for good, or waits long for its next attempt.

    Raises:
        asyncio.CancelledError: the surrounding task was cancelled; nothing came of the attempt.
    """
    config = execution.node.config
    attempt = execution.first_attempt
    if config.max_retries < attempt:
        never = FatalNodeError(f"maxRetries is {config.max_retries}: the node was never called")
        return Failed(_describe(execution, attempt, never, workshop.time.now()))
    kind = execution.implementation
    lifecycle: _Lifecycle | None = None
    if isinstance(kind, type) and issubclass(kind, Node):
        try:
            lifecycle = _Lifecycle(kind, execution)
        except Exception as broken:  # noqa: BLE001 - also its constructor is the node's own
            return Failed(_describe(execution, attempt, broken, workshop.time.now()))
    while True:
        attempted = _Attempt(execution, workshop, attempt, lifecycle)
        error: BaseException
        try:
            done = await attempted.run()
            await attempted.recover()
            return done
        except asyncio.CancelledError as caught:
            if attempted.is_ours():
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


class _Lifecycle:
    """A class-based node over all attempts: one instance, prepared once.

    The order is ``prep``, ``exec`` until it succeeds or attempts end, then ``fallback``, ``post``; ``recover`` last,
    when any error was seen. Errors of ``prep``, ``fallback`` and ``post`` are not retried.
    """

    def __init__(self, kind: type[Node], execution: Execution) -> None:
        self.node = kind(execution.node.params, execution.node.id)
        self.is_prepared = False
        self.prepared: Any = None
        self.writes: dict[str, Any] = {}
        self.seen: Exception | None = None


class _Attempt:
    """One attempt: its own context writes, its own cancellation flag."""

    def __init__(self, execution: Execution, workshop: Workshop, number: int, lifecycle: _Lifecycle | None) -> None:
        self.execution = execution
        self.workshop = workshop
        self.number = number
        self.is_last = False
        self._lifecycle = lifecycle
        self._over = False
        self.ctx = NodeContext(
            run_id=execution.run_id,
            blueprint_id=execution.blueprint_id,
            node_id=execution.node.id,
            activation=execution.activation.key,
            attempt=number,
            input=read_for_user(execution.input),
            params=execution.node.params,
            context=RunContext(execution.snapshot),
            dependencies=workshop.dependencies,
            is_cancelled=lambda: self._over,
        )

    def is_ours(self) -> bool:
        """Whether the surrounding task was cancelled, rather than user code raising the same exception."""
        task = asyncio.current_task()
        cancelling = getattr(task, "cancelling", None)
        return True if cancelling is None else bool(cancelling())

    async def run(self) -> Done:
        try:
            result = await (self._wrap() if self._lifecycle is not None else self._limit(self._wrap))
        finally:
            self._over = True
        return self._store(result)

    async def _limit(self, call: Callable[[], Awaitable[T]]) -> T:
        timeout_ms = self.execution.node.config.timeout
        if timeout_ms is None:
            return await call()
        task = asyncio.ensure_future(_contain(call))
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_ms / 1000)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        self._over = True
        task.cancel()
        # Async code may clean up; what refuses to end is left behind.
        await asyncio.wait({task}, timeout=_CLEAN_UP_SECONDS)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise NodeTimeout(node_id=self.execution.node.id, timeout_ms=timeout_ms)

    def _store(self, result: NodeResult) -> Done:
        node_id = self.execution.node.id
        output = None if result.output is UNDEFINED else self._encode(result.output, f"output of '{node_id}'")
        writes = tuple(
            (key, None if value is UNDEFINED else self._encode(value, f"context key '{key}' written by '{node_id}'"))
            for key, value in self.ctx.context.writes.items()
        )
        return Done(output, result.action, writes, self.number)

    def _encode(self, value: Any, what: str) -> Stored:
        data = encode(value, what)
        if len(data) > self.workshop.max_output_bytes:
            raise SizeLimitExceeded(what=what, size=len(data), limit=self.workshop.max_output_bytes)
        return Stored(data)

    async def _wrap(self) -> NodeResult:
        if not self.workshop.middleware:
            return await self._call()

        async def call_inner(index: int) -> NodeResult:
            if index == len(self.workshop.middleware):
                return await self._call_with_hooks()
            layer = self.workshop.middleware[index]
            return await layer.around_node(self.ctx, lambda: call_inner(index + 1))

        result = await call_inner(0)
        return result if isinstance(result, NodeResult) else NodeResult(output=result)

    async def _call_with_hooks(self) -> NodeResult:
        result: NodeResult | None = None
        error: Exception | None = None
        for layer in self.workshop.middleware:
            await _settle(layer.before_node(self.ctx))
        try:
            result = await self._call()
        except Exception as caught:
            error = caught
            raise
        finally:
            for layer in self.workshop.middleware:
                await _settle(layer.after_node(self.ctx, result, error))
        return result

    async def _call(self) -> NodeResult:
        if self._lifecycle is not None:
            value = await self._run_class(self._lifecycle)
        else:
            value = await self._invoke(self.execution.implementation, self.ctx)
        if isinstance(value, NodeResult):
            if value.action is not None and not isinstance(value.action, str):
                raise TypeError(f"action must be text or None, not {type(value.action).__name__}")
            return value
        return NodeResult(output=value)

    async def _invoke(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        value = await self.workshop.threads.run(lambda: function(*arguments))
        return await value if inspect.isawaitable(value) else value

    async def _run_class(self, lifecycle: _Lifecycle) -> Any:
        node = lifecycle.node
        if lifecycle.is_prepared:
            for key, value in lifecycle.writes.items():
                self.ctx.context.set(key, value)
        else:
            lifecycle.prepared = await self._step(node.prep)
            lifecycle.is_prepared = True
            lifecycle.writes = dict(self.ctx.context.writes)
        try:
            result = await self._limit(lambda: self._invoke(node.exec, lifecycle.prepared, self.ctx))
        except Exception as error:
            lifecycle.seen = error
            if isinstance(error, FatalNodeError) or self.number < self.execution.node.config.max_retries:
                raise
            result = await self._step(node.fallback, error)
        return await self._step(node.post, result)

    async def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """A step of a class-based node that is not retried."""
        try:
            return await self._limit(lambda: self._invoke(step, *arguments, self.ctx))
        except Exception:
            self.is_last = True
            raise

    async def recover(self, error: BaseException | None = None) -> None:
        """Let a class-based node clean up after any error it has seen; errors of this are logged only."""
        if self._lifecycle is None:
            return
        seen = error if isinstance(error, Exception) else self._lifecycle.seen
        if seen is None:
            return
        try:
            await self._invoke(self._lifecycle.node.recover, seen, self.ctx)
        except Exception:
            logger.warning("recover() of node '%s' failed", self.execution.node.id, exc_info=True)


async def _contain(call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        # Out of a task of its own they would end the event loop, and the worker with it.
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


async def _settle(value: Any | Awaitable[Any]) -> None:
    if inspect.isawaitable(value):
        await value

