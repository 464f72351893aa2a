"""Retrying an ended run: a new run that keeps what the old one committed and goes on from what failed.

A finished run never changes, so the new run is one of its own, linked by ``retry_of``. Its first owner copies the facts
worth keeping into the first commit; after that it is a run like any other.
"""

from __future__ import annotations

from flowcraft_dagster.engine.facts import OK, Ended, Fact, Opened
from flowcraft_dagster.ports.records import StoredRun
from flowcraft_dagster.runtime.history import read_commits


def select_kept_facts(stored: StoredRun) -> list[list[Fact]]:
    """Facts of an ended run that a retry keeps, commit by commit.

    Kept are activations that succeeded, failures that a fallback handled, batches with their finished items. Left out
    are unhandled failures, interrupted activations, and whatever waited without an end: these begin again.

    Args:
        stored: the ended run.
    """
    commits = read_commits(stored)
    ends = {fact.key: fact for facts in commits for fact in facts if isinstance(fact, Ended)}
    kept = [[fact for fact in facts if _is_kept(fact, ends)] for facts in commits]
    return [facts for facts in kept if facts]


def _is_kept(fact: Fact, ends: dict[str, Ended]) -> bool:
    if isinstance(fact, Ended):
        return fact.status == OK or (fact.failure is not None and fact.failure.handled)
    if isinstance(fact, Opened):
        if fact.kind == "batch-scatter":
            return True
        end = ends.get(fact.key)
        return end is not None and _is_kept(end, ends)
    return False
