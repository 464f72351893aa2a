"""Until when a sub-flow may take. Its time-out measures its work, not the trouble of the installation.

The wall clock runs from the begin of the attempt, or anew from the moment at which another worker has taken over work
that was in flight: that work begins again, and so does its time. It stands while a server is away, while no worker is
there, and as long as nobody drives a child that is to run. So no outage and no killed worker makes a healthy sub-flow
fail. What is uncertain counts as an outage: a time-out may come late, never early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowcraft_dagster.engine.facts import Opened
from flowcraft_dagster.engine.json_codec import decode, encode
from flowcraft_dagster.ports.records import CANCELLING, RUNNING, RunHeader, Signal, WorkerRecord
from flowcraft_dagster.runtime.availability import Interval, join_intervals
from flowcraft_dagster.runtime.emission import LIMITED_TAG, list_ancestors
from flowcraft_dagster.runtime.services import LaneServices

RESTART = "restart"
OUTAGES = "outages"
PROMPT_SECONDS = 0.25
"""A child run that is begun so soon after it was made has lost no time worth noting."""
MISSED_BEATS = 1.5


async def note_restart(services: LaneServices, header: RunHeader) -> None:
    """Tell those above that the work of a child run begins (again) now. Called by its new owner.

    Args:
        services: what lanes share.
        header: the child run, as this worker owns it.
    """
    if header.parent is None or LIMITED_TAG not in header.tags:
        return
    signal = Signal(f"{RESTART}/{header.run_id}/{header.epoch}.{header.seq}", encode({"at": services.clock.now()}))
    # Whoever limits a sub-flow looks into that one's run. The outermost run is nobody's.
    for run_id in [*list_ancestors(header)[1:], header.run_id]:
        await services.patience.insist("note restart", lambda at=run_id: services.backend.state.add_signal(at, signal))  # type: ignore[misc]


async def find_deadline(services: LaneServices, opened: Opened, child: RunHeader) -> float:
    """The moment at which a sub-flow's time is over, as far as is known now.

    Args:
        services: what lanes share.
        opened: the sub-flow's attempt; it has a limit.
        child: its run, as read just now.

    Returns:
        Seconds since 1970 UTC; it may move on when more is known.
    """
    limit = opened.details["wakeAt"] - opened.at
    state, now = services.backend.state, services.clock.now()
    signals = await services.patience.insist("read signals", lambda: state.read_signals(child.run_id))
    begin = max([opened.at, *(decode(signal.data)["at"] for signal in signals if signal.kind == RESTART)])
    workers = await services.patience.insist(
        "list workers", lambda: services.backend.workers.list_workers(begin)
    )
    served = [*((record.started_at, record.seen_at) for record in workers), (services.started_at, now)]
    lost = [*_list_outages(workers), *services.availability.list_outages()]
    deadline = find_moment(begin, limit, subtract([*served, (now, float("inf"))], lost))
    beat = services.options.heartbeat_seconds
    if deadline <= now and child.status in (RUNNING, CANCELLING) and child.updated_at < now - MISSED_BEATS * beat:
        # Nobody drives it: its owner is dead, cut off, or has not come to it yet.
        return now + beat
    return deadline


def _list_outages(workers: Iterable[WorkerRecord]) -> list[Interval]:
    return [(float(begin), float(end)) for record in workers for begin, end in record.health.get(OUTAGES, ())]


def subtract(intervals: Iterable[Interval], holes: Iterable[Interval]) -> list[Interval]:
    """What of intervals lies in none of the holes, in order.

    Example:
        >>> subtract([(0, 10), (8, 20)], [(5, 6), (9, 11)])
        [(0, 5), (6, 9), (11, 20)]
    """
    left: list[Interval] = []
    gaps = join_intervals(holes)
    for begin, end in join_intervals(intervals):
        for hole_begin, hole_end in gaps:
            if hole_end <= begin or hole_begin >= end:
                continue
            if begin < hole_begin:
                left.append((begin, hole_begin))
            begin = hole_end
        if begin < end:
            left.append((begin, end))
    return left


def find_moment(begin: float, seconds: float, intervals: Sequence[Interval]) -> float:
    """When so many seconds of the intervals have passed since ``begin``; the last interval never ends.

    Example:
        >>> find_moment(2, 5, [(0, 4), (10, float("inf"))])
        13
    """
    for start, end in intervals:
        start = max(start, begin)
        if start + seconds <= end:
            return start + seconds
        seconds -= max(0.0, end - start)
    return float("inf")
