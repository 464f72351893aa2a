"""Figures about many runs, as metadata that the UI shows and plots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.ports.records import CANCELLED, COMPLETED, FAILED, RunHeader

LATEST: Final = 10
"""Runs listed in a table."""
MOST_KEPT: Final = 50
"""Runs that are kept, to be read one by one."""


@dataclass
class RunFigures:
    """Counts and durations of finished runs of one blueprint.

    Attributes:
        statuses: how many runs ended in each status.
        as_subflow: how many of them were child runs.
        seconds: durations.
        latest: the last runs, newest last, at most ``MOST_KEPT``.
        unsuccessful: the last failed runs, likewise.
        finished_from, finished_to: when the first and the last of them ended, seconds since 1970 UTC.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    as_subflow: int = 0
    seconds: list[float] = field(default_factory=list)
    latest: list[RunHeader] = field(default_factory=list)
    unsuccessful: list[RunHeader] = field(default_factory=list)
    finished_from: float = math.inf
    finished_to: float = -math.inf

    def add(self, header: RunHeader) -> None:
        """Count a finished run."""
        finished_at = find_end(header)
        self.statuses[header.status] += 1
        self.as_subflow += header.parent is not None
        self.seconds.append(max(0.0, finished_at - header.started_at))
        self.finished_from = min(self.finished_from, finished_at)
        self.finished_to = max(self.finished_to, finished_at)
        _push(self.latest, header, MOST_KEPT)
        if header.status == FAILED:
            _push(self.unsuccessful, header, MOST_KEPT)

    @property
    def runs(self) -> int:
        """How many runs were counted."""
        return sum(self.statuses.values())

    @property
    def failed_share(self) -> float:
        """Failed runs by completed and failed ones, from 0 to 1."""
        ended = self.statuses[FAILED] + self.statuses[COMPLETED]
        return self.statuses[FAILED] / ended if ended else 0.0

    def to_metadata(self, show_reason: Callable[[str], str]) -> dict[str, Any]:
        """Metadata of an asset event; every figure is an entry of its own, since the UI plots single numbers.

        Args:
            show_reason: redacts and cuts the reason why a run failed: it may hold what a node said.
        """
        shares = find_percentiles(self.seconds, (50, 95, 99))
        return {
            "runs": self.runs,
            "completed": self.statuses[COMPLETED],
            "failed": self.statuses[FAILED],
            "cancelled": self.statuses[CANCELLED],
            "as_subflow": self.as_subflow,
            "failed_share": round(self.failed_share, 4),
            **{f"duration_p{percent}_seconds": round(value, 4) for percent, value in shares.items()},
            **({"finished_from": dg.MetadataValue.timestamp(self.finished_from)} if self.runs else {}),
            **({"finished_to": dg.MetadataValue.timestamp(self.finished_to)} if self.runs else {}),
            "latest_runs": tabulate_runs(reversed(self.latest[-LATEST:]), show_reason),
        }


def sum_up(headers: Iterable[RunHeader]) -> RunFigures:
    """Figures of finished runs."""
    figures = RunFigures()
    for header in headers:
        figures.add(header)
    return figures


def find_percentiles(values: Sequence[float], percents: Iterable[int]) -> dict[int, float]:
    """Percentiles by the nearest-rank method; nothing for no values.

    Example:
        >>> find_percentiles([4.0, 1.0, 3.0, 2.0], (50, 95))
        {50: 2.0, 95: 4.0}
    """
    ranked = sorted(values)
    if not ranked:
        return {}
    return {percent: ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)] for percent in percents}


RUN_COLUMNS: Final = {
    "run": "string",
    "status": "string",
    "ended": "string",
    "seconds": "float",
    "reason": "string",
}
FAILURE_COLUMNS: Final = {"run": "string", "node": "string", "error": "string", "message": "string"}


def tabulate_runs(headers: Iterable[RunHeader], show_reason: Callable[[str], str]) -> dg.TableMetadataValue:
    """Runs as a table; see :meth:`RunFigures.to_metadata`."""
    return tabulate(
        RUN_COLUMNS,
        [
            {
                "run": header.run_id,
                "status": header.status,
                "ended": show_time(find_end(header)),
                "seconds": round(max(0.0, (header.finished_at or header.updated_at) - header.started_at), 3),
                "reason": show_reason(header.reason or ""),
            }
            for header in headers
        ],
    )


def show_time(at: float) -> str:
    """A moment in UTC, to the second; tables have no type for one.

    Example:
        >>> show_time(0.0)
        '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")


def tabulate(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table, also without a row.

    Args:
        columns: Dagster's name of the type by column.
        rows: one value a column.
    """
    return dg.MetadataValue.table(
        records=[dg.TableRecord(dict(row)) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _push(headers: list[RunHeader], header: RunHeader, most: int) -> None:
    """Keep the latest; they mostly come in the order in which they ended."""
    headers.append(header)
    if len(headers) > 1 and find_end(headers[-2]) > find_end(header):
        headers.sort(key=find_end)
    if len(headers) > most:
        del headers[0]


def find_end(header: RunHeader) -> float:
    """When a finished run ended, seconds since 1970 UTC."""
    return header.updated_at if header.finished_at is None else header.finished_at
