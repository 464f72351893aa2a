"""What a node implementation sees and returns: the contract between the engine and user code."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcraft_dagster.engine.values import UNDEFINED

logger = logging.getLogger("flowcraft_dagster.node")


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a node hands back when a plain value is not enough.

    Attributes:
        output: the node's output, JSON; ``UNDEFINED`` stores nothing.
        action: chooses the outgoing edges with that ``action``; None follows those without one.

    Example:
        >>> NodeResult(output={"score": 0.9}, action="approve").action
        'approve'
    """

    output: Any = None
    action: str | None = None


class ContextReader(Protocol):
    """Read access to a run's context as it was committed when the node started."""

    def read(self, key: str) -> Any:
        """A private copy of the value, or ``UNDEFINED``."""
        ...

    def keys(self) -> Iterator[str]:
        """User keys and ``_outputs.<node>`` keys, in the order they were first set."""
        ...


class RunContext:
    """The run's context inside one attempt: committed values plus the attempt's own writes.

    Writes are seen by this attempt only, dropped when it fails, and applied by the commit when it succeeds.
    Node ids resolve to the node's output; ``_outputs.<id>`` and ``_inputs.<id>`` work too.
    """

    __slots__ = ("_reader", "_writes")

    def __init__(self, reader: ContextReader) -> None:
        self._reader = reader
        self._writes: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The value under ``key``, or ``default`` where there is none."""
        value = self.read(key)
        return default if value is UNDEFINED else value

    def read(self, key: str) -> Any:
        """The value under ``key``, or ``UNDEFINED``: tells a stored null from an absent key."""
        return self._writes[key] if key in self._writes else self._reader.read(key)

    def has(self, key: str) -> bool:
        """Whether ``key`` has a value."""
        return self.read(key) is not UNDEFINED

    def set(self, key: str, value: Any) -> None:
        """Write ``value`` (JSON) under ``key`` when this attempt succeeds. Raises TypeError when the key is no text."""
        if not isinstance(key, str):
            raise TypeError(f"a context key must be text, not {type(key).__name__}")
        self._writes[key] = value

    def delete(self, key: str) -> None:
        """Remove ``key`` when this attempt succeeds."""
        self._writes[key] = UNDEFINED

    def keys(self) -> list[str]:
        """All keys, in the order they were first set."""
        names = dict.fromkeys(self._reader.keys())
        for key, value in self._writes.items():
            if value is UNDEFINED:
                names.pop(key, None)
            else:
                names[key] = None
        return list(names)

    @property
    def writes(self) -> Mapping[str, Any]:
        """This attempt's writes; ``UNDEFINED`` marks a deletion."""
        return self._writes

    def __getitem__(self, key: str) -> Any:
        value = self.read(key)
        if value is UNDEFINED:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.has(key)


@dataclass(slots=True)
class NodeContext:
    """Everything one attempt of a node may use.

    Attributes:
        run_id: the run this belongs to.
        blueprint_id: the blueprint the run follows.
        node_id: the node's id in the blueprint.
        activation: the execution slot, the node id plus iteration numbers such as ``step#2``.
        attempt: 1 for the first attempt of this start.
        input: the resolved input, a private copy; None where there is none.
        params: the node's static parameters.
        context: the run's context.
        dependencies: what the app injects, by name.
    """

    run_id: str
    blueprint_id: str
    node_id: str
    activation: str
    attempt: int
    input: Any
    params: Mapping[str, Any]
    context: RunContext
    dependencies: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_cancelled: Callable[[], bool] = lambda: False
    log: logging.Logger = logger

    @property
    def idempotency_key(self) -> str:
        """Stable across retries and redeliveries: hand it to services that must act only once."""
        return f"{self.run_id}/{self.activation}"

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled or this attempt has timed out; long sync code should ask."""
        return self.is_cancelled()


NodeFunction = Callable[[NodeContext], Any | Awaitable[Any]]


class Node:
    """Base of class-based nodes; a new instance is made for every execution.

    The steps are ``prep`` (not retried), ``exec`` (retried), ``fallback`` (when ``exec`` has failed for good),
    ``post``; ``recover`` runs at the end whenever any error was seen. Each may be sync or async.

    Example:
        >>> class Shout(Node):
        ...     def exec(self, prepared, ctx):
        ...         return str(prepared).upper()
    """

    def __init__(self, params: Mapping[str, Any], node_id: str) -> None:
        self.params = params
        self.node_id = node_id

    def prep(self, ctx: NodeContext) -> Any:
        """Gather what ``exec`` needs; the node's input by default."""
        return ctx.input

    def exec(self, prepared: Any, ctx: NodeContext) -> Any:
        """Do the work. Must be overridden."""
        raise TypeError(f"{type(self).__name__} must define exec()")

    def fallback(self, error: Exception, ctx: NodeContext) -> Any:
        """Stand in for ``exec`` after its last attempt failed; raises the error by default."""
        raise error

    def post(self, result: Any, ctx: NodeContext) -> Any:
        """Turn the result of ``exec`` into the node's result; unchanged by default."""
        return result

    def recover(self, error: Exception, ctx: NodeContext) -> Any:
        """Clean up after any error, also one that ``fallback`` handled."""
        return None


NextCall = Callable[[], Awaitable[NodeResult]]


class Middleware:
    """Wraps node executions. Override what you need; hooks may be sync or async.

    ``around_node`` wraps everything: call ``await call_next()`` and return its result, another result, or raise.
    """

    def before_node(self, ctx: NodeContext) -> Any:
        """Called before each execution."""

    def after_node(self, ctx: NodeContext, result: NodeResult | None, error: Exception | None) -> Any:
        """Called after each execution, with its result or its error."""

    async def around_node(self, ctx: NodeContext, call_next: NextCall) -> NodeResult:
        """Wrap the execution; may replace the result or turn an error into a result."""
        return await call_next()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, such as ``node:finish``.

    Attributes:
        type: ``workflow:start``, ``node:start``, ``node:finish``, ``node:error`` and so on.
        payload: details; always has ``runId`` and ``blueprintId``.
    """

    type: str
    payload: Mapping[str, Any]


EventListener = Callable[[Event], None]
