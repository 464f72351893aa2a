"""What was committed, noted at the moment it applied, and what must hold of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.blueprint.model import Blueprint, NodeSpec
from flowcraft_dagster.engine.activation import escape_node_id
from flowcraft_dagster.engine.node import Event
from flowcraft_dagster.engine.plan import make_plan
from flowcraft_dagster.ports.records import FINAL_STATUSES, Commit, CommitOutcome, Message, RunHeader


@dataclass
class Journal:
    """All commits that applied, by run.

    Attributes:
        commits: in the order in which they applied.
        final: headers of ended runs, as they were when they ended.
        rows: keys of the rows of each run.
        blueprints: of runs, by run id; fills :attr:`early` as nodes start.
        early: nodes that started before one of their sources was committed, and built-in ones that were committed
            before.
        failures: why workers ended of themselves, other than by a server that was away.
        messages: everything that was sent to the job queue.
        endings: how often each run was said to have finished.
    """

    commits: dict[str, list[Commit]] = field(default_factory=dict)
    final: dict[str, RunHeader] = field(default_factory=dict)
    rows: dict[str, set[str]] = field(default_factory=dict)
    blueprints: dict[str, Blueprint] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    async def commit(self, store: Any, commit: Commit) -> CommitOutcome:
        """Pass a commit on to the store and note whether it changed the run."""
        before = await store.read_header(commit.run_id)
        outcome: CommitOutcome = await store.commit(commit)
        after = await store.read_header(commit.run_id)
        if outcome is CommitOutcome.APPLIED and before is not None and before.seq != after.seq:
            self.commits.setdefault(commit.run_id, []).append(commit)
            self.rows.setdefault(commit.run_id, set()).update(row.key for row in commit.rows)
            self._check_built_in(commit)
            if commit.status in FINAL_STATUSES:
                self.final.setdefault(commit.run_id, after)
        return outcome

    def watch(self, event: Event) -> None:
        """A listener: finds user code that runs before its inputs are durable, as ``node`` durability forbids."""
        if event.type == "workflow:finish":
            self.endings[str(event.payload["runId"])] += 1
        if event.type != "node:start":
            return
        blueprint = self.blueprints.get(str(event.payload["blueprintId"]))
        node = None if blueprint is None else blueprint.by_id.get(str(event.payload["nodeId"]))
        if blueprint is None or node is None or str(event.payload["activation"]) != escape_node_id(node.id):
            return
        if node.kind is None:
            self._check_sources(str(event.payload["runId"]), blueprint, node)

    def _check_built_in(self, commit: Commit) -> None:
        """Built-in nodes run no user code: their sources may be committed together with them, but not later."""
        blueprint = self.blueprints.get(commit.blueprint_id)
        keys = {row.key for row in commit.rows}
        for node in () if blueprint is None else blueprint.nodes:
            name = escape_node_id(node.id)
            if blueprint is not None and node.kind is not None and keys & {f"end/{name}", f"open/{name}/1"}:
                self._check_sources(commit.run_id, blueprint, node)

    def _check_sources(self, run_id: str, blueprint: Blueprint, node: NodeSpec) -> None:
        plan, key = make_plan(blueprint), escape_node_id(node.id)
        if node.id in plan.is_any or node.id in plan.fallbacks or node.id in plan.starts:
            return
        rows = self.rows.get(run_id, set())
        for source in {edge.spec.source for edge in plan.edges if edge.spec.target == node.id}:
            name = escape_node_id(source)
            ends = (f"end/{name}", f"open/{name}/1")
            if not plan.loops[source] and not any(end in rows for end in ends) and source not in plan.fallbacks:
                self.early.append(f"{run_id}: '{key}' started before '{source}' was committed")

    async def find_faults(self, store: Any) -> list[str]:
        """What is wrong with the runs of a store that have ended; empty when all is well."""
        faults = [*self.early, *self.failures]
        faults += [f"{run_id} was said to have finished {n} times" for run_id, n in self.endings.items() if n > 1]
        for run_id, commits in self.commits.items():
            ends = [commit.status for commit in commits if commit.status in FINAL_STATUSES]
            if len(ends) > 1:
                faults.append(f"{run_id} ended {len(ends)} times: {', '.join(ends)}")
            if ends and commits[-1].status not in FINAL_STATUSES:
                faults.append(f"{run_id} went on after it had ended")
            counts = Counter(row.key for commit in commits for row in commit.rows)
            faults.extend(f"{run_id}: {key} was committed {n} times" for key, n in counts.items() if n > 1)
            header = await store.read_header(run_id)
            if run_id in self.final and header != self.final[run_id]:
                faults.append(f"{run_id} changed after it had ended: {self.final[run_id]} became {header}")
        return faults
