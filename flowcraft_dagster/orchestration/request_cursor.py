"""The run-request sensor's cursor: what was handed over, and what of it is not known to be done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from flowcraft_dagster.ports.records import RequestRange

VERSION: Final = 1


@dataclass(frozen=True)
class Handover:
    """Ranges that were handed to a Dagster run.

    Attributes:
        ranges: pieces of the request queue.
        attempt: 1 for the first Dagster run, more after it failed.
        at: when, seconds since 1970 UTC.
    """

    ranges: tuple[RequestRange, ...]
    attempt: int
    at: float

    @property
    def name(self) -> str:
        """The pieces and the attempt as text.

        The topic's id is part of it: offsets begin anew in a topic that is made anew, and a run key counts for ever.
        """
        pieces = ",".join(f"{piece.topic_id}:{piece.partition}:{piece.start}-{piece.end}" for piece in self.ranges)
        return pieces if self.attempt == 1 else f"{pieces}#{self.attempt}"

    @property
    def tag(self) -> str:
        """The same, short enough for a tag."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:20]

    def repeat(self, at: float) -> Handover:
        """The next attempt."""
        return replace(self, attempt=self.attempt + 1, at=at)

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        pieces = [[piece.topic_id, piece.partition, piece.start, piece.end] for piece in self.ranges]
        return {"ranges": pieces, "attempt": self.attempt, "at": self.at}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Handover:
        """Read what :meth:`to_json` gave. Raises KeyError, TypeError or ValueError."""
        ranges = tuple(
            RequestRange(str(topic_id), int(partition), int(start), int(end))
            for topic_id, partition, start, end in document["ranges"]
        )
        return cls(ranges, int(document["attempt"]), float(document["at"]))


@dataclass(frozen=True)
class RequestCursor:
    """How far the request queue has been handed over.

    Attributes:
        topic_id: identity of the topic or table; None before anything was seen.
        positions: next offset by partition.
        open: handovers whose Dagster run has not succeeded yet.
    """

    topic_id: str | None = None
    positions: Mapping[int, int] = field(default_factory=dict)
    open: tuple[Handover, ...] = ()

    def advance(self, ranges: Sequence[RequestRange]) -> RequestCursor:
        """The cursor after these ranges were handed over."""
        topic_id = ranges[-1].topic_id if ranges else self.topic_id
        known = self.positions if topic_id == self.topic_id else {}
        ends = {piece.partition: piece.end for piece in ranges if piece.topic_id == topic_id}
        return replace(self, topic_id=topic_id, positions={**known, **ends})

    def write(self) -> str:
        """The cursor as text for Dagster."""
        document = {
            "version": VERSION,
            "topic_id": self.topic_id,
            "positions": {str(partition): offset for partition, offset in sorted(self.positions.items())},
            "open": [handover.to_json() for handover in self.open],
        }
        return orjson.dumps(document).decode()


def read_request_cursor(text: str | None) -> tuple[RequestCursor, str | None]:
    """Read what :meth:`RequestCursor.write` wrote.

    Returns:
        The cursor, and None or why it was not usable. Beginning anew starts nothing twice: run ids depend on places.
    """
    if not text:
        return RequestCursor(), None
    try:
        document = orjson.loads(text)
        if document["version"] != VERSION:
            return RequestCursor(), f"it has version {document['version']}, not {VERSION}"
        positions = {int(partition): int(offset) for partition, offset in document["positions"].items()}
        handovers = tuple(Handover.from_json(item) for item in document["open"])
        topic_id = document["topic_id"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return RequestCursor(), "it cannot be read"
    if not isinstance(topic_id, (str, type(None))):
        return RequestCursor(), "it is not one of this sensor"
    return RequestCursor(topic_id, positions, handovers), None
