"""The report of a run over a file of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What became of one case.

    Attributes:
        name, category: as given.
        difference: what is not as expected, in one line; None when all is.
        got: what was observed, under the keys of ``expect``.
    """

    name: str
    category: str
    difference: str | None
    got: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the case passed."""
        return self.difference is None


@dataclass
class ConformanceReport:
    """What became of all cases.

    Attributes:
        cases: in the order of the file.
        killed: workers that were killed meanwhile.
        killed_at_work: how many of them were killed while they ran a node.
    """

    cases: list[CaseOutcome] = field(default_factory=list)
    killed: int = 0
    killed_at_work: int = 0

    @property
    def passed(self) -> int:
        """How many cases passed."""
        return sum(outcome.ok for outcome in self.cases)

    @property
    def failed(self) -> int:
        """How many cases did not."""
        return len(self.cases) - self.passed

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "passed": self.passed,
            "failed": self.failed,
            "killed": self.killed,
            "cases": [
                {
                    "name": outcome.name,
                    "category": outcome.category,
                    "ok": outcome.ok,
                    "difference": outcome.difference,
                    "got": dict(outcome.got),
                }
                for outcome in self.cases
            ],
        }
