"""Which workflow runs their own Dagster runs have recorded on the assets: those are not counted again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from flowcraft_dagster.orchestration.figures import find_end
from flowcraft_dagster.orchestration.labels import RECORDER_TAG, RUN_ID
from flowcraft_dagster.ports.records import RunHeader

PAGE: Final = 1000
RUNS_TOGETHER: Final = 200
CLOCK_SECONDS: Final = 60.0
"""By how much the clocks of Dagster and of a worker may differ."""


@dataclass(frozen=True)
class Claimed:
    """A finished workflow run that a Dagster run means to record.

    Attributes:
        key: the asset.
        header: the run; has the tag of its recorder.
    """

    key: dg.AssetKey
    header: RunHeader

    @property
    def recorder(self) -> str:
        """Id of the Dagster run."""
        return self.header.tags[RECORDER_TAG]

    @property
    def name(self) -> tuple[str, str]:
        """Which run was recorded by which Dagster run."""
        return self.recorder, self.header.run_id


@dataclass(frozen=True)
class Sorted:
    """What became of claimed runs.

    Attributes:
        recorded: are on their asset.
        open: their Dagster run goes on and may record them yet.
        left: nobody will record them.
    """

    recorded: tuple[Claimed, ...]
    open: tuple[Claimed, ...]
    left: tuple[Claimed, ...]


def sort_claimed(instance: dg.DagsterInstance, claimed: Sequence[Claimed]) -> Sorted:
    """Find out which runs have been recorded, and which may be yet.

    Args:
        instance: knows events and Dagster runs.
        claimed: the runs.
    """
    known = _read_recorded(instance, claimed)
    rest = [claim for claim in claimed if claim.name not in known]
    going_on = _find_unfinished(instance, {claim.recorder for claim in rest})
    # Read again: a Dagster run may have recorded its run since, and have ended before it was asked for.
    known |= _read_recorded(instance, rest)
    recorded, still_open, left = [], [], []
    for claim in claimed:
        if claim.name in known:
            recorded.append(claim)
        elif claim.recorder in going_on:
            still_open.append(claim)
        else:
            left.append(claim)
    return Sorted(tuple(recorded), tuple(still_open), tuple(left))


def _read_recorded(instance: dg.DagsterInstance, claimed: Sequence[Claimed]) -> set[tuple[str, str]]:
    since: dict[dg.AssetKey, float] = {}
    for claim in claimed:
        # A run is recorded when it has ended, however long ago it began.
        after = find_end(claim.header) - CLOCK_SECONDS
        since[claim.key] = min(after, since.get(claim.key, after))
    found: set[tuple[str, str]] = set()
    for key, after in since.items():
        found |= _read_asset(instance, dg.AssetRecordsFilter(asset_key=key, after_timestamp=after))
    return found


def _read_asset(instance: dg.DagsterInstance, asked: dg.AssetRecordsFilter) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(asked, limit=PAGE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            if record.run_id and event is not None and RUN_ID in event.metadata:
                found.add((record.run_id, str(event.metadata[RUN_ID].value)))
        if not page.has_more or not page.records:
            return found
        cursor = page.cursor


def _find_unfinished(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> set[str]:
    asked = sorted(run_ids)
    found: set[str] = set()
    for first in range(0, len(asked), RUNS_TOGETHER):
        records = instance.get_run_records(dg.RunsFilter(run_ids=asked[first : first + RUNS_TOGETHER]))
        found |= {record.dagster_run.run_id for record in records if not record.dagster_run.is_finished}
    return found
