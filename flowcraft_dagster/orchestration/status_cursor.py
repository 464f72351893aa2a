"""The status sensor's cursor: where it is in the list of finished runs, and what it has put off."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

VERSION: Final = 1
MOST_HELD: Final = 200
"""Runs put off at most; further ones are reported at once."""


@dataclass(frozen=True)
class StatusCursor:
    """A place in the list of finished runs.

    Attributes:
        position: the store's cursor; None for the beginning.
        generation: changes when the sensor starts anew, so that batch ids of before and after differ.
        since: runs that ended before are left out, seconds since 1970 UTC; None at the very beginning.
        held: runs whose Dagster run may still record them, by id, with the time they ended.
        judged: digest of the blueprints whose own check was reported.
        unjudged: ids of blueprints whose runs are to be judged, since a tick had no time left for it.
    """

    position: str | None = None
    generation: str = "0"
    since: float | None = None
    held: Mapping[str, float] = field(default_factory=dict)
    judged: str = ""
    unjudged: tuple[str, ...] = ()

    @property
    def batch_id(self) -> str:
        """Names the batch that begins here.

        A tick that is repeated, since it ended before its cursor was stored, begins at the same place and so has the
        same id; it holds all of the first one and what ended meanwhile: the later event takes the earlier one's place.
        """
        return f"{self.generation}-{self.position or 'start'}"

    def begin(self, lookback_seconds: float) -> StatusCursor:
        """The same place; at the very beginning with the moment from which runs count."""
        return self if self.since is not None else replace(self, since=time.time() - lookback_seconds)

    def advance(
        self,
        position: str | None,
        held: Mapping[str, float] | None = None,
        judged: str = "",
        unjudged: Sequence[str] = (),
    ) -> StatusCursor:
        """The place after a tick."""
        return replace(self, position=position, held=dict(held or {}), judged=judged, unjudged=tuple(unjudged))

    def write(self) -> str:
        """The cursor as text for Dagster."""
        document = {
            "version": VERSION,
            "position": self.position,
            "generation": self.generation,
            "since": self.since,
            "held": dict(self.held),
            "judged": self.judged,
            "unjudged": list(self.unjudged),
        }
        return orjson.dumps(document).decode()


def read_cursor(text: str | None) -> tuple[StatusCursor, str | None]:
    """Read what :meth:`StatusCursor.write` wrote.

    Returns:
        The cursor, and None or why it was not usable: then it stands at the beginning, in a generation of its own.
    """
    if not text:
        return StatusCursor(), None
    reason = "it is not one of this sensor"
    try:
        document = orjson.loads(text)
        if document["version"] != VERSION:
            reason = f"it has version {document['version']}, not {VERSION}"
        elif isinstance(document["position"], (str, type(None))) and isinstance(document["generation"], str):
            held = {str(run_id): float(at) for run_id, at in document["held"].items()}
            since = document["since"]
            return StatusCursor(
                document["position"],
                document["generation"],
                None if since is None else float(since),
                held,
                str(document["judged"]),
                tuple(map(str, document.get("unjudged", ()))),
            ), None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        reason = "it cannot be read"
    return start_anew(text), reason


def start_anew(text: str) -> StatusCursor:
    """A cursor at the beginning; its generation depends on what was there, so that a repeated tick has the same one."""
    return StatusCursor(generation=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8])
