"""What to read next of a request queue."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flowcraft_dagster.ports.records import RequestRange

logger = logging.getLogger(__name__)


def plan_ranges(
    topic_id: str, positions: Mapping[int, int], ends: Mapping[int, tuple[int, int]], limit: int
) -> list[RequestRange]:
    """Choose what to read next, a fair share from every partition.

    Args:
        topic_id: identity of the topic or table.
        positions: the next offset by partition; a partition without one starts at its beginning.
        ends: first offset and the offset behind the last, by partition.
        limit: how many requests at most.

    Example:
        >>> plan_ranges("t", {0: 3}, {0: (5, 9)}, 10)
        [RequestRange(topic_id='t', partition=0, start=5, end=9, lost=2)]
    """
    starts: dict[int, int] = {}
    lost: dict[int, int] = {}
    for partition, (first, behind) in sorted(ends.items()):
        position = positions.get(partition, first)
        if position > behind:
            # The log was cut back: reading again is safe, reading on would skip what comes next.
            logger.warning("requests partition %d ends at %d, before position %d", partition, behind, position)
            position = first
        starts[partition] = max(first, position)
        lost[partition] = max(0, first - position)
    waiting = {partition: ends[partition][1] - start for partition, start in starts.items()}
    shares = _share(waiting, limit)
    return [
        RequestRange(topic_id, partition, start, start + shares[partition], lost[partition])
        for partition, start in starts.items()
        if shares[partition] or lost[partition]
    ]


def _share(waiting: Mapping[int, int], limit: int) -> dict[int, int]:
    """Divide ``limit`` among partitions, giving what one does not need to the others."""
    shares = dict.fromkeys(waiting, 0)
    left = limit
    # Those with least go first, so that what they leave over reaches the others.
    order = sorted(waiting, key=lambda partition: (waiting[partition], partition))
    for place, partition in enumerate(order):
        shares[partition] = min(waiting[partition], left // (len(order) - place))
        left -= shares[partition]
    return shares
