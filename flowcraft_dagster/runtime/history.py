"""From stored rows back to a run's state."""

from __future__ import annotations

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.decide import RunState, decide
from flowcraft_dagster.engine.facts import Fact, Opened, decode_fact
from flowcraft_dagster.engine.json_codec import decode, encode
from flowcraft_dagster.engine.plan import make_plan
from flowcraft_dagster.ports.records import StoredRun


def read_commits(stored: StoredRun) -> list[list[Fact]]:
    """The facts of a run's commits, in their order."""
    steps: dict[tuple[int, int], list[tuple[int, Fact]]] = {}
    for row in stored.rows:
        (step, place), fact = decode_fact(row.key, row.data, row.output)
        steps.setdefault((row.seq, step), []).append((place, fact))
    return [[fact for _, fact in sorted(steps[key], key=lambda pair: pair[0])] for key in sorted(steps)]


def find_last_opened(stored: StoredRun) -> list[Opened]:
    """The latest opening of each activation of a run, without deciding anything."""
    latest: dict[str, Opened] = {}
    for row in stored.rows:
        if row.key.startswith(("open/", "retry/")):
            fact = decode_fact(row.key, row.data, row.output)[1]
            if isinstance(fact, Opened):
                known = latest.get(fact.key)
                if known is None or (fact.attempt, fact.kind != "retry") > (known.attempt, known.kind != "retry"):
                    latest[fact.key] = fact
    return list(latest.values())


def read_context(context: bytes) -> dict[str, Stored]:
    """The initial context, one stored value a key."""
    return {key: Stored(encode(value)) for key, value in decode(context).items()}


def rebuild_state(stored: StoredRun, blueprint: Blueprint) -> RunState:
    """Decide a run anew from everything that was committed."""
    return decide(make_plan(blueprint), read_context(stored.context), read_commits(stored))
