"""Facts: what a commit adds to a run. Rows are their stored form; nothing else decides what happens next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.json_codec import decode, encode

OK = "ok"
FAILED = "failed"
INTERRUPTED = "interrupted"
INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """A failure of an activation, in a form that is safe to store and show.

    Attributes:
        node_id: the node, or the activation key of a batch item.
        activation: its key.
        attempt: the attempt that failed last, from 1.
        type: name of the exception's class.
        message: the exception's text.
        fatal: whether it skipped retries and fallback.
        handled: whether the node's fallback took over.
        at: seconds since 1970 UTC.
    """

    node_id: str
    activation: str
    attempt: int
    type: str
    message: str
    fatal: bool = False
    handled: bool = False
    at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON form, as shown to people and programs."""
        return {
            "node": self.node_id,
            "activation": self.activation,
            "attempt": self.attempt,
            "type": self.type,
            "message": self.message,
            "fatal": self.fatal,
            "handled": self.handled,
            "at": self.at,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> NodeFailure:
        """The inverse of :meth:`to_json`."""
        return cls(
            node_id=document["node"],
            activation=document["activation"],
            attempt=document["attempt"],
            type=document["type"],
            message=document["message"],
            fatal=document["fatal"],
            handled=document["handled"],
            at=document["at"],
        )


@dataclass(frozen=True, slots=True)
class TakenEdge:
    """An edge that was followed.

    Attributes:
        index: place of the edge in the plan.
        transformed: whether the edge has a transform; then ``value`` is its result.
        value: what the transform gave; None where it is undefined.
    """

    index: int
    transformed: bool = False
    value: Stored | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """An activation that has begun and ends later: a wait, sleep, webhook, sub-flow, batch or a delayed retry.

    Attributes:
        key: the activation.
        kind: ``wait``, ``sleep``, ``webhook``, ``subflow``, ``batch-scatter`` or ``retry``.
        attempt: which attempt this is, from 1.
        at: when it began, seconds since 1970 UTC.
        details: JSON, for example ``{"wakeAt": ...}`` or ``{"childRunId": ...}``.
        value: the sleep's input, the scatter's items, or the input that a sub-flow hands on.
        output: what the activation puts out already (scatter); None otherwise.
        taken: edges followed already (scatter).
    """

    key: str
    kind: str
    attempt: int
    at: float
    details: Mapping[str, Any] = field(default_factory=dict)
    value: Stored | None = None
    output: Stored | None = None
    taken: tuple[TakenEdge, ...] = ()

    @property
    def row_key(self) -> str:
        """The fact's place in the run's partition."""
        # A delayed retry and what the attempt itself opens are two rows.
        return f"{'retry' if self.kind == 'retry' else 'open'}/{self.key}/{self.attempt}"

    @property
    def timer_key(self) -> str:
        """Name of its timer within the run."""
        # A delayed retry ends with the attempt it names, whose own time-out has another timer.
        return f"{self.key}/{'retry-' if self.kind == 'retry' else ''}{self.attempt}"


@dataclass(frozen=True, slots=True)
class Ended:
    """An activation that is over.

    Attributes:
        key: the activation.
        status: ``ok``, ``failed``, ``interrupted`` (cancelled) or ``incomplete`` (a batch with a failed item).
        attempt: the last attempt, from 1.
        started_at, finished_at: seconds since 1970 UTC.
        output: None where undefined.
        action: what the node chose.
        writes: context changes in order; None removes a key.
        taken: edges followed.
        failure: set when failed.
        input: the failed node's input, kept for its fallback.
    """

    key: str
    status: str
    attempt: int = 1
    started_at: float = 0.0
    finished_at: float = 0.0
    output: Stored | None = None
    action: str | None = None
    writes: tuple[tuple[str, Stored | None], ...] = ()
    taken: tuple[TakenEdge, ...] = ()
    failure: NodeFailure | None = None
    input: Stored | None = None

    @property
    def row_key(self) -> str:
        """The fact's place in the run's partition."""
        return f"end/{self.key}"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The run began or stopped waiting, or a child run did.

    Attributes:
        status: the run's status from here on.
        at: seconds since 1970 UTC.
        seq: number of the commit that carries it.
    """

    status: str
    at: float
    seq: int

    @property
    def row_key(self) -> str:
        """The fact's place in the run's partition."""
        return f"status/{self.seq}"


@dataclass(frozen=True, slots=True)
class ChildMoved:
    """A sub-flow's child run changed between running and awaiting.

    Attributes:
        key: the sub-flow's activation.
        attempt: which child.
        status: ``running`` or ``awaiting``.
        serial: the child's commit that said so; later ones count.
    """

    key: str
    attempt: int
    status: str
    serial: int

    @property
    def row_key(self) -> str:
        """The fact's place in the run's partition."""
        return f"child/{self.key}/{self.attempt}/{self.serial}"


Fact = Opened | Ended | StatusChange | ChildMoved


def measure_fact(fact: Fact) -> int:
    """Bytes of the values a fact carries; the rest of it is small."""
    if isinstance(fact, Ended):
        output = None if fact.output is None else fact.output.data
        values = [value for _, value in fact.writes if value is not None and value.data != output]
        return sum(_length(value) for value in (fact.output, fact.input, *values, *(edge.value for edge in fact.taken)))
    if isinstance(fact, Opened):
        return _length(fact.output) + _length(fact.value) + sum(_length(edge.value) for edge in fact.taken)
    return 0


def _length(value: Stored | None) -> int:
    return 0 if value is None else len(value.data)


def encode_fact(fact: Fact, step: int = 0, place: int = 0) -> tuple[bytes, bytes | None]:
    """A fact as row data and output.

    Args:
        fact: what to write.
        step: which decision of the commit it belongs to; above 0 only with ``segment`` durability.
        place: its place within the step; facts of one step are applied together, in this order.
    """
    output = fact.output if isinstance(fact, (Ended, Opened)) else None
    document = _describe(fact)
    if step or place:
        document["p"] = [step, place]
    return encode(document), None if output is None else output.data


def decode_fact(row_key: str, data: bytes, output: bytes | None) -> tuple[tuple[int, int], Fact]:
    """The inverse of :func:`encode_fact`: step and place, and the fact."""
    document = decode(data)
    step, place = document.get("p", (0, 0))
    return (step, place), _restore(row_key, document, None if output is None else Stored(output))


def _describe(fact: Fact) -> dict[str, Any]:
    if isinstance(fact, Ended):
        return _describe_ended(fact)
    if isinstance(fact, Opened):
        document: dict[str, Any] = {"k": fact.kind, "n": fact.attempt, "t": fact.at}
        if fact.details:
            document["d"] = dict(fact.details)
        if fact.value is not None:
            document["v"] = orjson.Fragment(fact.value.data)
        if fact.taken:
            document["e"] = _encode_taken(fact.taken)
        return document
    if isinstance(fact, StatusChange):
        return {"s": fact.status, "t": fact.at, "q": fact.seq}
    return {"s": fact.status}


def _restore(row_key: str, document: dict[str, Any], stored: Stored | None) -> Fact:
    kind, _, rest = row_key.partition("/")
    if kind == "end":
        return _decode_ended(rest, document, stored)
    if kind in ("open", "retry"):
        key, _, attempt = rest.rpartition("/")
        return Opened(
            key=key,
            kind=document["k"],
            attempt=int(attempt),
            at=document["t"],
            details=document.get("d", {}),
            value=Stored(encode(document["v"])) if "v" in document else None,
            output=stored,
            taken=_decode_taken(document.get("e", ())),
        )
    if kind == "status":
        return StatusChange(document["s"], document["t"], document["q"])
    key, attempt, serial = rest.rsplit("/", 2)
    return ChildMoved(key, int(attempt), document["s"], int(serial))


def _describe_ended(fact: Ended) -> dict[str, Any]:
    document: dict[str, Any] = {"s": fact.status, "t": [fact.started_at, fact.finished_at]}
    if fact.attempt != 1:
        document["n"] = fact.attempt
    if fact.action is not None:
        document["a"] = fact.action
    if fact.writes:
        output = None if fact.output is None else fact.output.data
        # A value that is the output too is stored once: 1 stands for it, 0 for a removal.
        document["w"] = [
            [key, 0] if value is None else [key, 1] if value.data == output else [key, 2, orjson.Fragment(value.data)]
            for key, value in fact.writes
        ]
    if fact.taken:
        document["e"] = _encode_taken(fact.taken)
    if fact.failure is not None:
        document["f"] = fact.failure.to_json()
    if fact.input is not None:
        document["i"] = orjson.Fragment(fact.input.data)
    return document


def _decode_ended(key: str, document: dict[str, Any], output: Stored | None) -> Ended:
    failure = document.get("f")
    return Ended(
        key=key,
        status=document["s"],
        attempt=document.get("n", 1),
        started_at=document["t"][0],
        finished_at=document["t"][1],
        output=output,
        action=document.get("a"),
        writes=tuple(
            (write[0], None if write[1] == 0 else output if write[1] == 1 else Stored(encode(write[2])))
            for write in document.get("w", ())
        ),
        taken=_decode_taken(document.get("e", ())),
        failure=None if failure is None else NodeFailure.from_json(failure),
        input=Stored(encode(document["i"])) if "i" in document else None,
    )


def _encode_taken(taken: Sequence[TakenEdge]) -> list[Any]:
    """A plain edge as its number, one with an undefined transform as ``[n]``, with a value as ``[n, value]``."""
    return [
        edge.index
        if not edge.transformed
        else [edge.index]
        if edge.value is None
        else [edge.index, orjson.Fragment(edge.value.data)]
        for edge in taken
    ]


def _decode_taken(taken: Sequence[Any]) -> tuple[TakenEdge, ...]:
    return tuple(
        TakenEdge(entry)
        if isinstance(entry, int)
        else TakenEdge(entry[0], True, Stored(encode(entry[1])) if len(entry) > 1 else None)
        for entry in taken
    )
