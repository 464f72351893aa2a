"""What ``scripts/demo --check`` looks at, all of it through Dagster's GraphQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from examples.demo.dagster_api import DagsterApi, Materialization
from examples.demo.posts import ACTIONS, BLUEPRINT, Outcome

_PATIENCE_SECONDS: Final = 180.0
_POST: Final = {"userId": "user-check", "userPost": "Call me on +44 20 7946 0958 or write to jane.doe@example.com."}
_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class CheckFailed(Exception):
    """Something is not as it should be; the message says what was expected and what was seen."""


def check_dagster(api: DagsterApi, outcome: Outcome) -> Iterator[str]:
    """Look at everything; yields a line for each thing that is as it should be.

    Args:
        api: a Dagster whose status sensor runs.
        outcome: what became of the posts that were started without Dagster.

    Raises:
        CheckFailed: something is not.
    """
    posts = sum(outcome.statuses.values())
    _expect("completed runs of posts", outcome.statuses["completed"], posts)
    _expect("code location loaded", api.is_loaded(), True)
    yield "the code location is loaded"

    run_id = api.launch(
        "start_flowcraft_runs",
        {"ops": {"start_flowcraft_runs_op": {"config": {"blueprint_id": BLUEPRINT, "context": _POST}}}},
    )
    _await(lambda: api.run_status(run_id) in _ENDED, f"end of Dagster run {run_id}")
    _expect(f"status of Dagster run {run_id}", api.run_status(run_id), "SUCCESS")
    own = [event for event in api.materializations(_key(BLUEPRINT)) if event.run_id == run_id]
    _expect("materializations by the launched run", len(own), 1)
    _expect("status of the launched workflow run", own[0].metadata.get("status"), "completed")
    _expect("its counts", _count(own), (1, 1, 0))
    yield f"a launch of start_flowcraft_runs with a post completed its workflow run: {_name_action(own[0])}"

    # Every run is reported, and none twice. The launched run has recorded itself.
    _await_counts(api, BLUEPRINT, posts)
    yield f"the status sensor has materialized {'/'.join(_key(BLUEPRINT))}: {posts} runs, {posts} completed, 0 failed"
    launched = own[0].metadata.get("outputs") or {}
    for blueprint, count in outcome.actions.items():
        expected = count + (_find_action(launched) == blueprint)
        if expected:
            _await_counts(api, blueprint, expected)
    yield f"and the {len(ACTIONS)} assets of its sub-flows with the same sums"


def _await_counts(api: DagsterApi, blueprint: str, expected: int) -> None:
    def count() -> tuple[int, int, int]:
        reported = [event for event in api.materializations(_key(blueprint)) if "batch_id" in event.metadata]
        return _count(reported)

    _await(lambda: count()[0] >= expected, f"{expected} runs on asset {'/'.join(_key(blueprint))}")
    _expect(f"runs, completed and failed of asset {'/'.join(_key(blueprint))}", count(), (expected, expected, 0))


def _key(blueprint: str) -> tuple[str, str]:
    return ("flowcraft", blueprint)


def _count(events: list[Materialization]) -> tuple[int, int, int]:
    runs, completed, failed = (
        sum(int(event.metadata.get(name) or 0) for event in events) for name in ("runs", "completed", "failed")
    )
    return runs, completed, failed


def _find_action(outputs: dict[str, Any]) -> str | None:
    """The sub-flow that ended the post's way: its nodes carry the blueprint's id, with another separator."""
    return next((blueprint for blueprint in ACTIONS if blueprint.replace("-", "_") in outputs), None)


def _name_action(event: Materialization) -> str:
    action = _find_action(event.metadata.get("outputs") or {})
    return ACTIONS.get(action or "", "no action")


def _await(is_there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise CheckFailed(f"{what}: not there after {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.5)


def _expect(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise CheckFailed(f"{what}: expected {expected}, seen {seen}")
