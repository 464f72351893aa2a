"""The second half of a tick of the status sensor: events and checks about what has ended."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from flowcraft_dagster.blueprint import Blueprint
from flowcraft_dagster.errors import FlowcraftError, InfrastructureError, one_line
from flowcraft_dagster.orchestration.blueprint_checks import judge_runs
from flowcraft_dagster.orchestration.catalogue import CatalogueEntry
from flowcraft_dagster.orchestration.connection import Connection
from flowcraft_dagster.orchestration.figures import RunFigures, find_end
from flowcraft_dagster.orchestration.judgement import CheckLimits
from flowcraft_dagster.orchestration.labels import BATCH_ID
from flowcraft_dagster.orchestration.node_figures import NodeFigures, measure_node_runs
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.ports.records import COMPLETED, FAILED, RunHeader
from flowcraft_dagster.runtime.result import RunResult

AssetEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

MOST_NODES_COUNTED: Final = 20
MOST_TRIED: Final = 5
"""Runs that are read to find one that can be shown; others may have been deleted."""


@dataclass
class StatusEvents:
    """Makes the events of one tick.

    Attributes:
        connection: reads single runs.
        presenter: shows them.
        limits: when the check of a blueprint's runs fails.
        log: the tick's.
        batch_id: names the batch of runs that is reported.
        deadline: moment of the monotonic clock after which no single run is read.
        node_budget: events about nodes that may still be made.
        nodes_left_out: nodes for which there was no budget.
    """

    connection: Connection
    presenter: Presenter
    limits: CheckLimits
    log: logging.Logger
    batch_id: str
    deadline: float
    node_budget: int
    nodes_left_out: int = 0
    _loaded: dict[str, tuple[RunResult, Blueprint] | None] = field(default_factory=dict)

    def describe(self, entry: CatalogueEntry, figures: RunFigures, *, one_by_one: bool) -> list[AssetEvent]:
        """Events about the runs of a blueprint, and about its nodes where they are shown.

        Args:
            entry: the blueprint.
            figures: its runs.
            one_by_one: whether each run gets an event of its own.
        """
        events: list[AssetEvent] = []
        if one_by_one:
            events += self._describe_runs(entry, figures)
        # The last one is what the UI shows first.
        events.append(self._sum_up(entry, figures))
        if entry.nodes:
            events += self._describe_nodes(entry, figures)
        return events

    def judge(self, entry: CatalogueEntry) -> dg.AssetCheckEvaluation | None:
        """The check of a blueprint's runs; None where the tick has no time left for it."""
        if time.monotonic() > self.deadline:
            return None
        return judge_runs(self.connection, entry, self.presenter, self.limits).to_evaluation()

    # -- a blueprint ---------------------------------------------------------------------------------------------

    def _sum_up(self, entry: CatalogueEntry, figures: RunFigures) -> AssetEvent:
        metadata: dict[str, Any] = {
            **self.presenter.describe_figures(figures),
            **self._describe_latest(figures),
            **self._describe_failures(entry, figures),
            # Last: it says nothing to a person, and the UI shows metadata in this order.
            BATCH_ID: self.batch_id,
        }
        # An asset is green after a materialization, so there is none where nothing completed.
        kind = dg.AssetMaterialization if figures.statuses[COMPLETED] else dg.AssetObservation
        return kind(asset_key=entry.key, description=count_in_words(figures.statuses), metadata=metadata)

    def _describe_latest(self, figures: RunFigures) -> dict[str, Any]:
        completed = [header for header in figures.latest if header.status == COMPLETED]
        for header in reversed(completed[-MOST_TRIED:]):
            found = self._load(header)
            if found is not None:
                result, blueprint = found
                picture = self.presenter.show_run(result, blueprint)
                return {
                    "latest_run": header.run_id,
                    "latest_outputs": self.presenter.show_value("outputs", result.outputs),
                    **({"latest_picture": dg.MetadataValue.md(picture)} if picture else {}),
                    **{f"latest_{name}": link for name, link in self.presenter.link_run(header).items()},
                }
        return {}

    def _describe_failures(self, entry: CatalogueEntry, figures: RunFigures) -> dict[str, Any]:
        if not figures.unsuccessful:
            return {}
        results = self._load_all(reversed(figures.unsuccessful))
        nodes = Counter(error.node_id for result in results for error in result.errors if not error.handled)
        counted = nodes.most_common(MOST_NODES_COUNTED)
        links = self.presenter.link_run(figures.unsuccessful[-1])
        worst = entry.nodes.get(counted[0][0]) if counted else None
        return {
            "latest_failures": self.presenter.tabulate_failures(results),
            "failures_by_node": dg.MetadataValue.json(dict(counted)),
            # Each a number of its own, so that the UI plots it.
            **{f"failures/{one_line(node_id)}": count for node_id, count in counted},
            **({"failing_node": dg.MetadataValue.asset(worst.key)} if worst is not None else {}),
            **{f"failed_{name}": link for name, link in links.items()},
        }

    # -- single runs and nodes -----------------------------------------------------------------------------------

    def _describe_runs(self, entry: CatalogueEntry, figures: RunFigures) -> Iterable[AssetEvent]:
        for header in figures.latest:
            found = self._load(header)
            if found is not None:
                result, blueprint = found
                # They are counted by the event of the whole batch.
                about = self.presenter.describe_result(result, header, blueprint, counts=False)
                yield dg.AssetObservation(
                    asset_key=entry.key,
                    description=f"run {header.run_id} {header.status}",
                    metadata={**about, **self.presenter.link_run(header), BATCH_ID: self.batch_id},
                )

    def _describe_nodes(self, entry: CatalogueEntry, figures: RunFigures) -> list[AssetEvent]:
        headers = {header.run_id: header for header in (*figures.latest, *figures.unsuccessful)}
        found = measure_node_runs(self._load_all(sorted(headers.values(), key=find_end)))
        ran = [(node_id, found[node_id]) for node_id in entry.nodes if node_id in found]
        # What failed comes first: it must not be what there is no budget for.
        ran.sort(key=lambda pair: not pair[1].failures)
        events: list[AssetEvent] = []
        for node_id, node in ran:
            if self.node_budget < 2:
                self.nodes_left_out += 1
                continue
            self.node_budget -= 2
            events += self._describe_node(entry.nodes[node_id].key, node)
        return events

    def _describe_node(self, key: dg.AssetKey, node: NodeFigures) -> Sequence[AssetEvent]:
        metadata = {**node.to_metadata(self.presenter), BATCH_ID: self.batch_id}
        kind = dg.AssetObservation if node.latest_failed else dg.AssetMaterialization
        judgement = node.judge(key, self.presenter)
        return (
            kind(asset_key=key, description=judgement.description, metadata=metadata),
            judgement.to_evaluation(),
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def _load_all(self, headers: Iterable[RunHeader]) -> list[RunResult]:
        loaded = (self._load(header) for header in headers)
        return [found[0] for found in loaded if found is not None]

    def _load(self, header: RunHeader) -> tuple[RunResult, Blueprint] | None:
        """A run with all there is to it; None where it is gone, or where the tick has no time left."""
        if header.run_id not in self._loaded:
            if time.monotonic() > self.deadline:
                return None
            self._loaded[header.run_id] = self._read(header)
        return self._loaded[header.run_id]

    def _read(self, header: RunHeader) -> tuple[RunResult, Blueprint] | None:
        client = self.connection.client
        try:
            blueprint = client.call(client.asynchronous.find_blueprint(header))
            return client.result(header.run_id), blueprint
        except InfrastructureError:
            raise
        except FlowcraftError as error:
            self.log.warning("run %s cannot be shown: %s", header.run_id, error)
            return None


def count_in_words(statuses: Mapping[str, int]) -> str:
    """For example ``41 completed, 2 failed``."""
    order = {COMPLETED: 0, FAILED: 1}
    known = sorted(statuses.items(), key=lambda pair: (order.get(pair[0], 2), pair[0]))
    return ", ".join(f"{count} {status}" for status, count in known if count)
