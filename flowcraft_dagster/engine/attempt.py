"""One attempt of a node: its own context writes, its time-out, middleware, and the steps of class-based nodes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execution import Execution, Workshop
from flowcraft_dagster.engine.inputs import read_for_user
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.node import Node, NodeContext, NodeResult, RunContext
from flowcraft_dagster.engine.outcome import Done
from flowcraft_dagster.engine.stopwatch import Stopwatch
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.errors import FatalNodeError, NodeTimeout, SizeLimitExceeded

logger = logging.getLogger(__name__)
T = TypeVar("T")

_CLEAN_UP_SECONDS = 0.5


class Lifecycle:
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


class _Mark:
    """Whether an attempt is over, for those who may ask it.

    A closure over the attempt would make a cycle with the context it is handed to, and every node that runs would
    leave something for the collector of cycles to find.
    """

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self) -> bool:
        return self.is_set


class Attempt:
    """One attempt: its own context writes, its own cancellation flag."""

    def __init__(self, execution: Execution, workshop: Workshop, number: int, lifecycle: Lifecycle | None) -> None:
        self.execution = execution
        self.workshop = workshop
        self.number = number
        self.is_last = False
        self._lifecycle = lifecycle
        self._over = _Mark()
        self._watch: Stopwatch | None = None
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
            is_cancelled=self._over,
        )

    async def run(self) -> Done:
        """What the attempt comes to. Raises whatever user code raises, and NodeTimeout."""
        try:
            result = await (self._wrap() if self._lifecycle is not None else self._limit(self._wrap))
        finally:
            self._over.is_set = True
        return self._store(result)

    async def _limit(self, call: Callable[[], Awaitable[T]]) -> T:
        timeout_ms = self.execution.node.config.timeout
        if timeout_ms is None:
            return await call()
        self._watch = watch = Stopwatch()
        task = asyncio.ensure_future(_contain(call))
        try:
            while not task.done() and watch.taken < timeout_ms / 1000:
                if watch.is_running:
                    await asyncio.wait({task}, timeout=timeout_ms / 1000 - watch.taken)
                else:
                    news: set[asyncio.Future[Any]] = {task, watch.resumed}
                    await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._abandon(task)
            raise
        finally:
            self._watch = None
        if task.done():
            return task.result()
        await self._abandon(task)
        raise NodeTimeout(node_id=self.execution.node.id, timeout_ms=timeout_ms)

    async def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Async code may clean up; what refuses to end is left behind."""
        self._over.is_set = True
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait({task}, timeout=_CLEAN_UP_SECONDS)

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
        watch = self._watch
        if watch is None:
            value = await self.workshop.threads.run(lambda: function(*arguments))
        else:
            # How long it waits for a thread is not the node's doing.
            watch.pause()
            try:
                value = await self.workshop.threads.run(lambda: function(*arguments), watch.resume)
            finally:
                watch.resume()
        return await value if inspect.isawaitable(value) else value

    async def _run_class(self, lifecycle: Lifecycle) -> Any:
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
        except GeneratorExit:
            raise
        except BaseException as failure:
            if isinstance(failure, asyncio.CancelledError) and self.execution.interruption.is_requested:
                raise
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

