"""The first half of a tick of the status sensor: which runs have ended since, in counts and samples."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from flowcraft_dagster.orchestration.catalogue import Catalogue
from flowcraft_dagster.orchestration.connection import ANSWER_SECONDS, BackendConnection
from flowcraft_dagster.orchestration.figures import RunFigures
from flowcraft_dagster.orchestration.labels import RECORDER_TAG
from flowcraft_dagster.orchestration.port_resources import FlowcraftStoreResource
from flowcraft_dagster.orchestration.recorded_runs import Claimed, sort_claimed
from flowcraft_dagster.orchestration.status_cursor import MOST_HELD, StatusCursor
from flowcraft_dagster.ports.records import Page, RunHeader

PAGE: Final = 1000
HOLD_SECONDS: Final = 600.0
"""How long a Dagster run that goes on may take to record its workflow run after that has ended."""


@dataclass
class FinishedRuns:
    """What has ended since the last tick.

    Attributes:
        figures: by blueprint id.
        elsewhere: how many are of blueprints that this location does not have, by blueprint id.
        recorded: how many their Dagster runs have recorded themselves.
        held: runs whose Dagster run may still record them, by id, with the time they ended.
        position: where to go on.
        is_complete: whether everything was read.
    """

    figures: dict[str, RunFigures] = field(default_factory=dict)
    elsewhere: Counter[str] = field(default_factory=Counter)
    recorded: int = 0
    held: dict[str, float] = field(default_factory=dict)
    position: str | None = None
    is_complete: bool = False

    @property
    def statuses(self) -> Counter[str]:
        """How many runs ended in each status, over all blueprints."""
        total: Counter[str] = Counter()
        for figures in self.figures.values():
            total += figures.statuses
        return total


class FinishedRunsReader:
    """Reads finished runs within bounds.

    Args:
        asked_by: name of the sensor.
        store: lists them.
        instance: knows which of them their Dagster runs have recorded.
        catalogue: the blueprints that are shown.
        deadline: no further page is read after this moment of the monotonic clock.
        max_runs: no further page is read after so many runs.
    """

    def __init__(
        self,
        asked_by: str,
        store: FlowcraftStoreResource,
        instance: dg.DagsterInstance,
        catalogue: Catalogue,
        deadline: float,
        max_runs: int,
    ) -> None:
        self._asked_by = asked_by
        self._store = store
        self._instance = instance
        self._catalogue = catalogue
        self._deadline = deadline
        self._max_runs = max_runs

    def read(self, cursor: StatusCursor, until: float) -> FinishedRuns:
        """Count what has ended since.

        Args:
            cursor: the place in the listing, and what was put off.
            until: runs that ended at or after this are left for the next tick, seconds since 1970 UTC.

        Raises:
            UnknownCursor: the store does not know the cursor's place.
            InfrastructureError: the store is away.
        """
        found = FinishedRuns(position=cursor.position)
        connection = self._store.connect(ANSWER_SECONDS)
        seen: set[str] = set()
        claimed: list[Claimed] = []
        read = 0
        while read < self._max_runs and time.monotonic() < self._deadline:
            page = read_page(connection, self._asked_by, found.position, until, PAGE)
            if not page.headers and page.cursor == found.position:
                found.is_complete = True
                break
            for header in page.headers:
                # An end that was published by two workers at once may be listed twice.
                if header.run_id not in seen and (header.finished_at or until) >= (cursor.since or 0.0):
                    self._take(found, header, claimed)
                seen.add(header.run_id)
            read += len(page.headers)
            found.position = page.cursor
        for run_id in cursor.held:
            held = None if run_id in seen else self._store.read_run(run_id)
            if held is not None:
                self._take(found, held, claimed)
        self._decide(found, claimed, cursor.held)
        return found

    def _take(self, found: FinishedRuns, header: RunHeader, claimed: list[Claimed]) -> None:
        key = self._catalogue.find_key(header.blueprint_id)
        if key is None:
            found.elsewhere[header.blueprint_id] += 1
        elif RECORDER_TAG in header.tags:
            claimed.append(Claimed(key, header))
        else:
            _count(found, header)

    def _decide(self, found: FinishedRuns, claimed: list[Claimed], held: Mapping[str, float]) -> None:
        """Leave out what was recorded, put off what may be, and count the rest."""
        outcome = sort_claimed(self._instance, claimed)
        found.recorded += len(outcome.recorded)
        now = time.time()
        for claim in outcome.open:
            header = claim.header
            ended_at = held.get(header.run_id, header.finished_at or now)
            if now - ended_at <= HOLD_SECONDS and len(found.held) < MOST_HELD:
                found.held[header.run_id] = ended_at
            else:
                _count(found, header)
        for claim in outcome.left:
            _count(found, claim.header)


def read_page(
    connection: BackendConnection, asked_by: str, position: str | None, until: float, limit: int
) -> Page:
    """A page of finished runs for a sensor's tick, which waits for it a moment only. Raises InfrastructureError.

    Args:
        connection: to the store.
        asked_by: name of the sensor.
        position: the cursor of the page before; None for the beginning.
        until: runs that ended at or after this are left out, seconds since 1970 UTC.
        limit: how many at most.
    """
    return connection.ask(
        f"the state store, asked by {asked_by},",
        # Not the moment: a page that was asked for earlier ends earlier, and the next one begins there.
        (position, limit),
        lambda: connection.backend.index.scan_finished_runs(position, until, limit),
    )


def _count(found: FinishedRuns, header: RunHeader) -> None:
    found.figures.setdefault(header.blueprint_id, RunFigures()).add(header)
