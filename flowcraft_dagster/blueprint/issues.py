"""What the linter reports: issues, their codes and the report that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from flowcraft_dagster.errors import one_line

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class LintIssue:
    """One thing the linter found.

    Attributes:
        code: stable name of the kind of issue; see :mod:`flowcraft_dagster.blueprint.lint`.
        severity: ``error`` if the blueprint cannot do what it says, ``warning`` if it probably does not.
        message: what is wrong and where, in one line.
        node_id: the node concerned.
        related_id: another node or blueprint concerned.
        hint: what to do about it.
    """

    code: str
    severity: Severity
    message: str
    node_id: str | None = None
    related_id: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class LintReport:
    """All issues of a blueprint, in a stable order."""

    issues: tuple[LintIssue, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return not self.errors

    @property
    def errors(self) -> tuple[LintIssue, ...]:
        """The issues that are errors."""
        return tuple(issue for issue in self.issues if issue.severity == "error")

    @property
    def warnings(self) -> tuple[LintIssue, ...]:
        """The issues that are warnings."""
        return tuple(issue for issue in self.issues if issue.severity == "warning")


CODES: Final[Mapping[str, tuple[Severity, str]]] = MappingProxyType(
    {
        "MISSING_NODE_IMPLEMENTATION": ("error", "Register the kind on the app, or correct 'uses'."),
        "INVALID_BATCH_WORKER_KEY": ("error", "Set params.workerUsesKey to a registered node kind."),
        "INVALID_BATCH_GATHER": ("error", "Pair every batch-scatter with a batch-gather of its own."),
        "INVALID_SUBFLOW_BLUEPRINT_ID": ("error", "Add that blueprint to the app, or correct params.blueprintId."),
        "RESERVED_SUBFLOW_OUTPUT": ("error", "Map keys or node ids that do not start with '_'."),
        "INVALID_SLEEP_DURATION": ("error", "Give milliseconds, or text such as '30s', '5m', '2h', '1d'."),
        "NO_ATTEMPTS": ("error", "Set config.maxRetries, the total of attempts, to 1 or more."),
        "INVALID_EXPRESSION": ("error", "Use property paths and JavaScript operators; calls are not allowed."),
        "INVALID_EDGE_SOURCE": ("error", "Add the node or remove the edge."),
        "INVALID_EDGE_TARGET": ("error", "Add the node or remove the edge."),
        "ORPHAN_NODE": ("error", "Lead an edge to the node, or remove it."),
        "CYCLE_WITHOUT_CONTROLLER": ("error", "Put a loop-controller into the cycle; without one nothing repeats."),
        "LOOP_WITHOUT_EXIT": ("error", "Add an edge with action 'break' out of the loop."),
        "JOIN_NEVER_FIRES": ("warning", "Set config.joinStrategy to 'any', or remove the edges that exclude others."),
        "JOIN_WAITS_FOR_FALLBACK": ("warning", "Remove the fallback's edge: it takes over those of the failed node."),
        "EDGE_INTO_FALLBACK": ("warning", "Remove the edge, or use a node of its own as fallback."),
        "UNUSED_FALLBACK": ("warning", "Remove config.fallback; nodes of this kind do not fail."),
        "LOOP_WITHOUT_RETURN": ("warning", "Lead an edge from the last node of the body back to the controller."),
        "LOOP_WITHOUT_CONDITION": ("warning", "Set params.condition; without it the loop ends at once."),
        "UNKNOWN_NAME": ("warning", "Transforms know 'input' and 'context', conditions know 'result' and 'context'."),
        "ACTION_NEVER_RETURNED": ("warning", "Remove 'action', or route with a condition."),
        "DUPLICATE_EDGE": ("warning", "Remove one of the two edges."),
        "SUBFLOW_RECURSION": ("warning", "Make sure that some run takes a way around the sub-flow."),
        "RESERVED_NODE_ID": ("warning", "Choose another id; this one has a meaning in expressions or in the context."),
        "UNKNOWN_CYCLE_ENTRY": ("warning", "Name an existing node in metadata.cycleEntryPoints."),
        "EMPTY_BLUEPRINT": ("warning", "Add a node; a run of this blueprint completes at once."),
    }
)
"""Severity and hint of every code."""


def make_issue(code: str, message: str, node_id: str | None = None, related_id: str | None = None) -> LintIssue:
    """An issue with the severity and hint of its code."""
    severity, hint = CODES[code]
    return LintIssue(code, severity, one_line(message), node_id, related_id, hint)
