"""What a check found, and from when on it is a warning or an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class CheckLimits:
    """When checks fail: as a warning beyond the first limit of a pair, as an error beyond the second.

    Attributes:
        warn_failed_share, error_failed_share: of a blueprint's latest runs, the share that failed, 0 to 1.
        window_seconds: only runs that ended so recently are judged.
        window_runs: and only so many, the latest.
        warn_stalled, error_stalled: runs that a pass of the reconciler found standing still.
        warn_workers, error_workers: fewer living workers.
        warn_lag, error_lag: messages in the job queue.
        warn_dead_letters, error_dead_letters: messages that nobody could handle.
        warn_waiting_seconds, error_waiting_seconds: how long a run has waited for an answer.
    """

    warn_failed_share: float = 0.0
    error_failed_share: float = 0.5
    window_seconds: float = 3600.0
    window_runs: int = 100
    warn_stalled: int = 0
    error_stalled: int = 100
    warn_workers: int = 1
    error_workers: int = 1
    warn_lag: int = 10_000
    error_lag: int = 100_000
    warn_dead_letters: int = 0
    error_dead_letters: int = 100
    warn_waiting_seconds: float = 86_400.0
    error_waiting_seconds: float = 604_800.0


@dataclass(frozen=True)
class Judgement:
    """What a check found.

    Attributes:
        key: the asset.
        check_name: the check.
        passed: whether all is well.
        description: one line that says what is wrong.
        severity: how bad it is when it did not pass.
        metadata: figures.
    """

    key: dg.AssetKey
    check_name: str
    passed: bool
    description: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_result(self) -> dg.AssetCheckResult:
        """The result of a check that Dagster executes."""
        return dg.AssetCheckResult(
            asset_key=self.key,
            check_name=self.check_name,
            passed=self.passed,
            severity=self.severity,
            description=self.description,
            metadata=self.metadata,
        )

    def to_evaluation(self) -> dg.AssetCheckEvaluation:
        """The same as an event that a sensor reports."""
        return dg.AssetCheckEvaluation(
            asset_key=self.key,
            check_name=self.check_name,
            passed=self.passed,
            severity=self.severity,
            description=self.description,
            metadata=self.metadata,
        )


def grade(is_error: bool) -> dg.AssetCheckSeverity:
    """The severity of a check that did not pass."""
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
