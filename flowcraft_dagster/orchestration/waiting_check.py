"""The check that somebody answers: runs that wait, those that have waited longest, and what they wait for."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from flowcraft_dagster.errors import RunError, StoreAccessDenied, one_line
from flowcraft_dagster.orchestration.figures import show_time, tabulate
from flowcraft_dagster.orchestration.judgement import CheckLimits, Judgement, grade
from flowcraft_dagster.orchestration.translator import make_runtime_key
from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.ports.records import AWAITING, RunHeader, RunQuery
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.live_runs import read_live_runs
from flowcraft_dagster.runtime.result import OpenWait
from flowcraft_dagster.runtime.waits import ANSWERABLE

WAITING_ASSET: Final = make_runtime_key("waiting_runs")
MOST_NAMED: Final = 5
MOST_LISTED: Final = 100
MOST_WAITING: Final = 10_000
MOST_ASKING: Final = 100
"""Waits for an answer; further runs are not read when so many are known."""
MOST_WAITS_READ: Final = 1000
"""Runs that are read: many of those that have waited longest may only sleep."""
PAGE: Final = 1000


def judge_waiting(client: Client, limits: CheckLimits) -> Judgement:
    """Whether no run has waited long for an answer; lists what is waited for. Raises InfrastructureError."""
    waiting = client.call(_find_waiting(client.asynchronous.backend.index))
    asking: list[OpenWait] = []
    sleeping: list[OpenWait] = []
    for header in waiting.longest:
        if len(asking) >= MOST_ASKING:
            break
        # It may have gone on meanwhile.
        with suppress(RunError):
            for wait in client.waiting(header.run_id):
                # Those of its child runs are listed with them: run and node are what an answer has to name.
                if wait.run_id == header.run_id:
                    # A run that sleeps for a month waits for nobody.
                    (asking if wait.kind in ANSWERABLE else sleeping).append(wait)
    now = time.time()
    for waits in (asking, sleeping):
        waits.sort(key=lambda wait: wait.since)
    late = [wait for wait in asking if now - wait.since > limits.warn_waiting_seconds]
    longest = now - asking[0].since if asking else 0.0
    named = "; ".join(f"run {wait.run_id}, node '{one_line(wait.activation)}'" for wait in late[:MOST_NAMED])
    rows = [
        {
            "run": wait.run_id,
            "node": wait.activation,
            "kind": wait.kind,
            "for": _name_event(wait),
            "since": show_time(wait.since),
        }
        for wait in [*asking, *sleeping][:MOST_LISTED]
    ]
    return Judgement(
        key=WAITING_ASSET,
        check_name="nobody_waits_long",
        passed=not late,
        description=f"{waiting.describe()} runs wait" + (f"; longest for an answer: {named}" if late else ""),
        severity=grade(longest > limits.error_waiting_seconds),
        metadata={
            "waiting": waiting.count,
            "longest_wait_seconds": round(longest, 1),
            "waits": tabulate(dict.fromkeys(("run", "node", "kind", "for", "since"), "string"), rows),
        },
    )


@dataclass(frozen=True)
class _WaitingRuns:
    """Runs that wait.

    Attributes:
        count: how many.
        longest: those that have waited longest.
        is_complete: whether all live runs were looked at.
    """

    count: int
    longest: tuple[RunHeader, ...]
    is_complete: bool = True

    def describe(self) -> str:
        """How many they are."""
        return f"{self.count}" if self.is_complete else f"at least {self.count}"


async def _find_waiting(index: RunIndex) -> _WaitingRuns:
    count = 0
    longest: list[RunHeader] = []
    try:
        async for headers in read_live_runs(index, PAGE):
            found = [header for header in headers if header.status == AWAITING]
            count += len(found)
            longest = nsmallest(MOST_WAITS_READ, [*longest, *found], key=lambda header: header.updated_at)
        return _WaitingRuns(count, tuple(longest))
    except StoreAccessDenied:
        # A scan tidies the listing up. Who may only read gets what a listing has, which is the latest runs.
        query = RunQuery(statuses=frozenset({AWAITING}), with_children=True, limit=MOST_WAITING)
        listed = (await index.list_runs(query))[::-1]
        return _WaitingRuns(len(listed), listed[:MOST_WAITS_READ], is_complete=False)


def _name_event(wait: OpenWait) -> str:
    """What a wait waits for: the name of its event, or the moment when it ends."""
    if "wakeAt" in wait.details:
        return show_time(wait.details["wakeAt"])
    return one_line(str(wait.details.get("eventName") or ""))
