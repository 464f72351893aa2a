"""What became of starting an activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.facts import NodeFailure


@dataclass(frozen=True, slots=True)
class Done:
    """It succeeded.

    Attributes:
        output: None where undefined.
        action: what it chose.
        writes: context changes in order; None removes a key.
        attempt: the attempt that succeeded.
    """

    output: Stored | None = None
    action: str | None = None
    writes: tuple[tuple[str, Stored | None], ...] = ()
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed for good."""

    failure: NodeFailure


@dataclass(frozen=True, slots=True)
class Waiting:
    """It has begun and ends later.

    Attributes:
        kind: as in :class:`~flowcraft_dagster.engine.facts.Opened`.
        details: JSON; ``wakeAt`` (seconds since 1970 UTC) asks for a timer.
        value: what the end needs.
        output: what it puts out already.
        attempt: which attempt this is.
    """

    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)
    value: Stored | None = None
    output: Stored | None = None
    attempt: int = 1


Outcome = Done | Failed | Waiting
