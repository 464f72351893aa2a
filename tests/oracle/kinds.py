"""The node kinds that the cases use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.oracle.values import UNDEFINED, as_number, is_nothing, text

Read = Callable[[str], object]


class NodeError(Exception):
    """What a node raises; a fatal one allows neither retry nor fallback."""

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


@dataclass
class Outcome:
    """What one attempt gives: an output, an action, context writes, and how long it took in ms."""

    output: object = UNDEFINED
    action: str | None = None
    writes: dict[str, object] = field(default_factory=dict)
    ms: float = 0


def perform(kind: str, value: object, params: Mapping[str, object], read: Read, attempt: int) -> Outcome:
    """Run one attempt of a test node.

    Args:
        kind: Name of the kind.
        value: The resolved input.
        params: The node's parameters.
        read: Gives a context key, undefined when it is missing.
        attempt: Number of this attempt, from 1.

    Returns:
        What the attempt gives.

    Raises:
        NodeError: The attempt fails.
    """
    if kind in ("fail", "fatal"):
        raise NodeError(str(params.get("message", "boom")), fatal=kind == "fatal")
    if kind in ("flaky", "dirty"):
        if attempt <= as_number(params.get("times")):
            raise NodeError(f"attempt {attempt} failed")
        written: dict[str, object] = {f"attempt_{attempt}": True} if kind == "dirty" else {}
        return Outcome(params.get("value", UNDEFINED), None, written)
    if kind == "slow":
        return Outcome(params.get("value", UNDEFINED), ms=as_number(params.get("ms")))
    if kind == "route":
        action = params["action"] if "action" in params else _at(value, str(params["by"]))
        return Outcome(_or_null(value), text(action))
    if kind in _WRITERS:
        output, key = _WRITERS[kind](value, params, read)
        return Outcome(output, None, {key: output})
    return Outcome(_READERS[kind](value, params, read))


def _or_null(value: object) -> object:
    return None if value is UNDEFINED else value


def _at(value: object, path: str) -> object:
    for part in path.split("."):
        value = value.get(part, UNDEFINED) if isinstance(value, dict) else UNDEFINED
    return value


def _put(value: object, params: Mapping[str, object], read: Read) -> tuple[object, str]:
    return (params["value"] if "value" in params else _or_null(value)), str(params["key"])


def _counter(value: object, params: Mapping[str, object], read: Read) -> tuple[object, str]:
    return as_number(read(str(params["key"]))) + as_number(params.get("by", 1)), str(params["key"])


def _below(value: object, params: Mapping[str, object], read: Read) -> tuple[object, str]:
    return as_number(read(str(params["key"]))) < as_number(params["limit"]), str(params["flag"])


def _collect(value: object, params: Mapping[str, object], read: Read) -> object:
    ids = params["ids"]
    return [_or_null(read(f"_outputs.{name}")) for name in ids] if isinstance(ids, list) else []


_WRITERS: dict[str, Callable[[object, Mapping[str, object], Read], tuple[object, str]]] = {
    "put": _put,
    "counter": _counter,
    "below": _below,
}
_READERS: dict[str, Callable[[object, Mapping[str, object], Read], object]] = {
    "echo": lambda value, params, read: _or_null(value),
    "const": lambda value, params, read: params.get("value", UNDEFINED),
    "add": lambda value, params, read: as_number(value) + as_number(params.get("by", 1)),
    "concat": lambda value, params, read: ("" if is_nothing(value) else text(value)) + str(params["suffix"]),
    "pick": lambda value, params, read: _or_null(read(str(params["key"]))),
    "collect": _collect,
    "square": lambda value, params, read: as_number(value) ** 2,
}
