"""The error that says which requests of a range are gone for good."""

from __future__ import annotations

from flowcraft_dagster.errors import RequestsLost
from flowcraft_dagster.ports.records import RequestRange

MADE_ANEW = "the queue was made anew"
TOO_OLD = "they were older than the queue keeps them, or somebody deleted them"


def name_lost(requests: RequestRange, reason: str, *, queue: str, end: int | None = None) -> RequestsLost:
    """The error for the first requests of a range, or for all of them.

    Args:
        requests: what was asked for.
        reason: why they are gone.
        queue: where they were.
        end: offset of the first one that may still be there; None when all are gone.
    """
    return RequestsLost(
        reason,
        queue=queue,
        topic_id=requests.topic_id,
        partition=requests.partition,
        start=requests.start,
        end=requests.end if end is None else min(end, requests.end),
    )
