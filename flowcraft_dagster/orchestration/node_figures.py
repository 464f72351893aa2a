"""What the nodes of a blueprint did in some of its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.orchestration.figures import FAILURE_COLUMNS, find_percentiles, tabulate
from flowcraft_dagster.orchestration.judgement import Judgement, grade
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.runtime.result import RunResult

NODE_CHECK: Final = "node_succeeds"
MOST_LISTED: Final = 20


@dataclass
class NodeFigures:
    """What a node did.

    Attributes:
        executions: how often it ran: once for each iteration of a loop.
        seconds: how long each took.
        runs: in how many runs.
        failures: what failed, by run, the latest last.
        latest_run: the run that ended last.
        latest_failed: whether it failed in that one.
    """

    executions: int = 0
    seconds: list[float] = field(default_factory=list)
    runs: int = 0
    failures: list[tuple[str, NodeFailure]] = field(default_factory=list)
    latest_run: str = ""
    latest_failed: bool = False

    def to_metadata(self, presenter: Presenter) -> dict[str, Any]:
        """Metadata of an event about the node; single numbers are plotted."""
        rows = [
            {
                "run": run_id,
                "node": failure.activation,
                "error": failure.type,
                "message": presenter.show_text("message", failure.message),
            }
            for run_id, failure in reversed(self.failures[-MOST_LISTED:])
        ]
        return {
            "executions": self.executions,
            "failures": len(self.failures),
            "runs_read": self.runs,
            "latest_run": self.latest_run,
            **{
                f"duration_p{percent}_seconds": round(value, 4)
                for percent, value in find_percentiles(self.seconds, (50, 95)).items()
            },
            **({"latest_failures": tabulate(FAILURE_COLUMNS, rows)} if rows else {}),
        }

    def judge(self, key: dg.AssetKey, presenter: Presenter) -> Judgement:
        """The check of the node: names run, node and error of the latest failure."""
        description = f"ran {self.executions} times in {self.runs} runs"
        is_error = False
        if self.failures:
            run_id, failure = self.failures[-1]
            # One that a fallback node took over has not failed its run.
            is_error = self.latest_failed and not failure.handled
            description = (
                f"run {run_id}, node '{failure.node_id}': {failure.type}: "
                f"{presenter.show_text('message', failure.message)} ({len(self.failures)} failures; {description})"
            )
        return Judgement(
            key=key,
            check_name=NODE_CHECK,
            passed=not self.failures,
            description=description,
            severity=grade(is_error),
            metadata={"executions": self.executions, "failures": len(self.failures)},
        )


def measure_node_runs(results: Iterable[RunResult]) -> dict[str, NodeFigures]:
    """Figures by node id, only of nodes that ran.

    Args:
        results: finished runs of one blueprint, the latest last.
    """
    found: dict[str, NodeFigures] = {}
    for result in results:
        ran: set[str] = set()
        for timing in result.timings:
            figures = found.setdefault(timing.node_id, NodeFigures())
            figures.executions += 1
            if timing.finished_at is not None:
                figures.seconds.append(max(0.0, timing.finished_at - timing.started_at))
            ran.add(timing.node_id)
        failed: set[str] = set()
        for error in result.errors:
            if error.node_id in ran:
                found[error.node_id].failures.append((result.run_id, error))
                failed.add(error.node_id)
        for node_id in ran:
            figures = found[node_id]
            figures.runs += 1
            figures.latest_run, figures.latest_failed = result.run_id, node_id in failed
    return found
