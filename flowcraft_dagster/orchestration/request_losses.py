"""The check that tells of requests to start runs that are gone: a loss is never silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from flowcraft_dagster.errors import RequestsLost
from flowcraft_dagster.orchestration.request_cursor import RequestCursor
from flowcraft_dagster.orchestration.translator import RUNTIME_GROUP, make_runtime_key
from flowcraft_dagster.ports.records import RequestRange

REQUESTS_KEY: Final = make_runtime_key("run_requests")
LOST_CHECK: Final = "no_requests_lost"
MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Losses:
    """What became of requests that it should not have.

    Attributes:
        lost: requests that were gone before they were read.
        messages: what happened, a sentence each.
        is_error: whether requests are lost for certain.
    """

    lost: int = 0
    messages: tuple[str, ...] = ()
    is_error: bool = False

    def __bool__(self) -> bool:
        return bool(self.messages)

    def describe(self) -> str:
        """Everything in one line."""
        more = len(self.messages) - MOST_NAMED
        return "; ".join([*self.messages[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])

    def judge(self) -> dg.AssetCheckEvaluation:
        """The check's event."""
        return dg.AssetCheckEvaluation(
            asset_key=REQUESTS_KEY,
            check_name=LOST_CHECK,
            passed=not self,
            severity=dg.AssetCheckSeverity.ERROR if self.is_error else dg.AssetCheckSeverity.WARN,
            description=self.describe() or "nothing lost",
            metadata={"lost": self.lost},
        )


def find_losses(cursor: RequestCursor, ranges: Sequence[RequestRange], given_up: Sequence[str], job: str) -> Losses:
    """What the sensor sees: offsets that are gone, a queue that was made anew or cut back, launches that keep failing.

    Args:
        cursor: how far the queue had been handed over.
        ranges: what there is to read now.
        given_up: names of handovers whose launches kept failing.
        job: the job by which they can still be started.
    """
    messages = []
    lost = sum(piece.lost for piece in ranges)
    if lost:
        messages.append(f"{lost} requests were gone before they were read")
    if ranges and cursor.topic_id not in (None, ranges[0].topic_id):
        messages.append(
            "the queue was made anew; its requests are read from the beginning, and those of the old one that were not"
            " handed over yet are gone"
        )
    elif any(piece.start < cursor.positions.get(piece.partition, 0) for piece in ranges):
        messages.append("the queue was cut back, as by a restored copy; its requests are read from the beginning")
    messages += [f"launches for {name} failed; start them with the job {job}" for name in given_up]
    return Losses(lost, tuple(messages), is_error=bool(lost or given_up))


def sum_up_losses(losses: Sequence[RequestsLost]) -> Losses:
    """What a launch found: requests that went between the tick and their turn."""
    lost = sum(int(loss.end) - int(loss.start) for loss in losses)
    return Losses(lost, tuple(str(loss) for loss in losses), is_error=True)


def build_request_spec() -> dg.AssetSpec:
    """The asset that shows how many requests were started."""
    return dg.AssetSpec(
        key=REQUESTS_KEY,
        description="Requests to start runs, as they were handed over.",
        group_name=RUNTIME_GROUP,
        kinds={"flowcraft"},
    )


def build_request_check() -> dg.AssetChecksDefinition:
    """The check; the sensor and the launched job evaluate it. It stays failed until a person executes it."""

    @dg.asset_check(
        name=LOST_CHECK,
        asset=REQUESTS_KEY,
        description="No request was gone before it was read. Executing it acknowledges a reported loss.",
    )
    def no_requests_lost() -> dg.AssetCheckResult:
        # Only the sensor knows how far it was. A person who executes this has seen the loss.
        return dg.AssetCheckResult(passed=True, description="acknowledged by hand")

    return no_requests_lost
