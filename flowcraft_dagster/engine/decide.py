"""The heart: what is to be done next, decided from a blueprint and the facts committed so far, and nothing else.

``decide`` folds ``RunState.apply`` over the commits of a run in their order. Owners keep the state and apply each new
commit to it, so that the cost of a node does not grow with the run; folding from the start gives the same state.
No expression is evaluated here and nothing is read: edges taken, and the values they carry, are facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.batches import Batch, BatchResults
from flowcraft_dagster.engine.context import INPUT_PREFIX, OUTPUT_PREFIX, Snapshot, Stored, VersionedContext
from flowcraft_dagster.engine.facts import (
    FAILED,
    INCOMPLETE,
    OK,
    ChildMoved,
    Ended,
    Fact,
    NodeFailure,
    Opened,
    StatusChange,
    TakenEdge,
)
from flowcraft_dagster.engine.joins import Arrival, Joins, Selection
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.plan import Plan, PlannedEdge

NULL = Stored(b"null")
WAITING_KINDS = frozenset({"wait", "sleep", "webhook", "retry"})
LONGEST_INLINE_DELAY = 5.0
"""Seconds between attempts; a run that waits longer for the next one is awaiting, and a durable timer wakes it."""


class RunState:
    """A run as its facts say it is.

    Attributes:
        plan: the compiled blueprint.
        version: how many times facts were applied; snapshots refer to it.
        context: user keys, outputs and inputs.
        pending: activations that are to run or are running, by key, in the order they were decided.
        opened: activations that have begun and wait for something, by key.
        batches: scatters that are not over, by activation key.
        batch_results: what gathers collect.
        failures: everything that failed, handled or not.
        children: for each sub-flow whose child run was heard of, the number of the child's last commit and its status.
        is_cancelling: whether no activation may start any more.
    """

    def __init__(self, plan: Plan, context: Mapping[str, Stored]) -> None:
        self.plan = plan
        self.version = 0
        self.context = VersionedContext(context)
        self.pending: dict[str, Activation] = {}
        self.opened: dict[str, Opened] = {}
        self.batches: dict[str, Batch] = {}
        self.batch_results = BatchResults()
        self.failures: list[NodeFailure] = []
        self.is_cancelling = False
        self.children: dict[str, tuple[int, str]] = {}
        self._joins = Joins(plan)
        self._activations: dict[str, Activation] = {}
        self._fresh: dict[str, Activation] = {}
        self._busy: set[str] = set()
        self._selections: dict[str, Selection] = {}
        self._retries: dict[str, int] = {}
        self._caught: dict[str, tuple[Stored | None, NodeFailure]] = {}
        self._ranks: dict[str, tuple[Any, ...]] = {}
        self._unhandled = False
        self._reached: set[str] = set()
        self._begun: set[str] = set()
        for node_id in plan.starts:
            self._start(Activation(node_id, (0,) * len(plan.loops[node_id])), Selection())

    # -- the fold ------------------------------------------------------------------------------------------------

    def apply(self, facts: list[Fact], close_at: float | None = None) -> list[Activation]:
        """Take in one commit.

        Args:
            facts: everything the commit carries, in its order.
            close_at: set by the owner that is about to write this commit: batches that are over by it are ended in
                the same commit, as of this moment, by facts appended to ``facts``.

        Returns:
            Activations decided by it, in the order in which they are to start.
        """
        self.version += 1
        self._fresh = {}
        arrivals: list[Arrival] = []
        entered: list[tuple[str, tuple[int, ...]]] = []
        for fact in facts:
            if isinstance(fact, Ended):
                self._apply_ended(fact, arrivals, entered)
            elif isinstance(fact, Opened):
                self._apply_opened(fact, arrivals)
            elif isinstance(fact, ChildMoved):
                self._apply_child(fact)
            elif isinstance(fact, StatusChange) and fact.status == "cancelling":
                self.is_cancelling = True
        if close_at is not None:
            for key in [key for key, batch in self.batches.items() if batch.is_over]:
                end = Ended(key, INCOMPLETE if self.batches[key].failed else OK, 1, close_at, close_at)
                facts.append(end)
                self._apply_ended(end, arrivals, entered)
        for controller, iterations in entered:
            # Edges from outside that arrived long ago count now, and tie with this commit's edges by their place.
            arrivals.extend(self._joins.enter(controller, iterations))
        for arrival in sorted(arrivals, key=lambda arrival: arrival.edge.index):
            target = arrival.edge.spec.target
            self._reached.add(target)
            if target not in self.plan.fallbacks:
                for node_id, iterations, selection in self._joins.arrive(arrival):
                    self._start(Activation(node_id, iterations), selection)
        fresh = list(self._fresh.values())
        for activation in fresh:
            self._settle_input(activation)
        return fresh

    def _start(self, activation: Activation, selection: Selection) -> None:
        key = activation.key
        known = self._activations.get(key)
        if known is None:
            self._activations[key] = activation
            self._fresh[key] = activation
            self.pending[key] = activation
            self._selections[key] = selection
        elif key in self._fresh and activation.node_id not in self.plan.is_any:
            # A later edge of the same commit into a join that has just fired decides its input.
            self._selections[key] = selection

    def _settle_input(self, activation: Activation) -> None:
        selection = self._selections[activation.key]
        if selection.default is not None:
            self.context.write(INPUT_PREFIX + activation.node_id, self.version, selection.default.value)
            self._joins.forget(activation.node_id, activation.iterations)

    def _apply_ended(
        self, fact: Ended, arrivals: list[Arrival], entered: list[tuple[str, tuple[int, ...]]]
    ) -> None:
        activation = self._close(fact.key)
        if activation is None:
            return
        if activation.item is not None:
            self._end_item(activation, fact)
            return
        opened = self.opened.pop(fact.key, None)
        self._busy.discard(fact.key)
        if fact.status == OK:
            for key, value in fact.writes:
                self.context.write(key, self.version, value)
            if opened is not None and opened.kind == "batch-scatter":
                self._end_batch(activation, opened, arrivals)
            else:
                self._put_output(activation, fact.output)
                self._follow(activation, fact.output, fact.taken, arrivals, entered)
                self.batch_results.drop(activation)
        elif fact.status == INCOMPLETE:
            self.batches.pop(fact.key, None)
        elif fact.status == FAILED and fact.failure is not None:
            self._fail(activation, fact, fact.failure)

    def _close(self, key: str) -> Activation | None:
        activation = self._activations.get(key)
        if activation is None or (key not in self.pending and key not in self.opened):
            return None
        self.pending.pop(key, None)
        self._selections.pop(key, None)
        self._retries.pop(key, None)
        self._begun.add(activation.node_id)
        return activation

    def _apply_opened(self, fact: Opened, arrivals: list[Arrival]) -> None:
        activation = self._activations.get(fact.key)
        if activation is None or (fact.key not in self.pending and fact.key not in self.opened):
            return
        self.pending.pop(fact.key, None)
        self._begun.add(activation.node_id)
        self.opened[fact.key] = fact
        self.children.pop(fact.key, None)
        if fact.kind in WAITING_KINDS and not _is_short_retry(fact):
            # A sub-flow that waits long for its next attempt has no child that runs.
            self._busy.discard(fact.key)
        else:
            self._busy.add(fact.key)
        if fact.kind == "batch-scatter":
            self._put_output(activation, fact.output)
            items = [] if fact.value is None else fact.value.peek()
            batch = Batch(items, max(1, int(fact.details.get("chunkSize") or len(items) or 1)))
            self.batches[fact.key] = batch
            early = [edge for edge in fact.taken if not self.plan.edges[edge.index].awaits_batch]
            self._follow(activation, fact.output, early, arrivals, [])
            self._reached.update(self.plan.edges[edge.index].spec.target for edge in fact.taken)
            self._start_chunk(activation, batch)

    def _apply_child(self, fact: ChildMoved) -> None:
        opened = self.opened.get(fact.key)
        if opened is not None and opened.attempt == fact.attempt:
            serial, _ = self.children.get(fact.key, (-1, ""))
            if fact.serial > serial:
                self.children[fact.key] = (fact.serial, fact.status)
                (self._busy.discard if fact.status == "awaiting" else self._busy.add)(fact.key)

    # -- batches -------------------------------------------------------------------------------------------------

    def _start_chunk(self, scatter: Activation, batch: Batch) -> None:
        end = min(batch.started + batch.chunk_size, len(batch.items))
        for index in range(batch.started, end):
            self._start(Activation(scatter.node_id, scatter.iterations, item=index, cause=scatter.cause), Selection())
        batch.started = end

    def _end_item(self, activation: Activation, fact: Ended) -> None:
        scatter = Activation(activation.node_id, activation.iterations, cause=activation.cause)
        batch = self.batches.get(scatter.key)
        if batch is None or activation.item is None:
            return
        batch.ended += 1
        batch.results[activation.item] = fact.output
        if fact.status == OK:
            for key, value in fact.writes:
                self.context.write(key, self.version, value)
        else:
            batch.failed = True
            if fact.failure is not None:
                self.failures.append(fact.failure)
                self._unhandled = True
        if batch.ended == batch.started and not batch.failed and not self.is_cancelling:
            self._start_chunk(scatter, batch)

    def _end_batch(self, activation: Activation, opened: Opened, arrivals: list[Arrival]) -> None:
        batch = self.batches.pop(activation.key, None)
        late = [edge for edge in opened.taken if self.plan.edges[edge.index].awaits_batch]
        if batch is not None:
            for edge in late:
                self.batch_results.keep(self.plan.edges[edge.index].spec.target, activation, batch)
        self._follow(activation, opened.output, late, arrivals, [])

    # -- outputs, edges, failures --------------------------------------------------------------------------------

    def _put_output(self, activation: Activation, output: Stored | None) -> None:
        rank = self._rank(activation)
        if rank >= self._ranks.get(activation.node_id, rank):
            self._ranks[activation.node_id] = rank
            self.context.write(OUTPUT_PREFIX + activation.node_id, self.version, output)

    def _rank(self, activation: Activation) -> tuple[Any, ...]:
        causes: list[tuple[int, tuple[int, ...]]] = []
        cause = activation.cause
        while cause is not None:
            causes.append((self.plan.order[cause.node_id], cause.iterations))
            cause = cause.cause
        return activation.iterations, tuple(causes)

    def _follow(
        self,
        activation: Activation,
        output: Stored | None,
        taken: Iterable[TakenEdge],
        arrivals: list[Arrival],
        entered: list[tuple[str, tuple[int, ...]]],
    ) -> None:
        for edge in taken:
            planned = self.plan.edges[edge.index]
            owner = find_edge_owner(activation, planned)
            if planned.is_continue and (planned.spec.source, owner.iterations) not in entered:
                entered.append((planned.spec.source, owner.iterations))
            value = edge.value if edge.transformed else output
            pattern = planned.find_target_iterations(owner.iterations)
            arrivals.append(Arrival(planned, pattern, value, edge.transformed))

    def _fail(self, activation: Activation, fact: Ended, failure: NodeFailure) -> None:
        self.failures.append(failure)
        fallback = self.find_fallback(activation) if failure.handled else None
        if fallback is None:
            self._unhandled = True
            return
        self._put_output(activation, NULL)
        self._caught[fallback.key] = (fact.input, failure)
        if not self.is_cancelling:
            self._start(fallback, Selection())

    def find_fallback(self, activation: Activation) -> Activation | None:
        """The activation that takes over when this one fails; None without a fallback or within its own chain."""
        fallback = self.plan.node(activation.node_id).config.fallback
        if activation.item is not None or fallback is None or fallback not in self.plan.order:
            return None
        link: Activation | None = activation
        while link is not None:
            if link.node_id == fallback:
                return None
            link = link.cause
        places = dict(zip(self.plan.loops[activation.node_id], activation.iterations, strict=True))
        iterations = tuple(places.get(loop, 0) for loop in self.plan.loops[fallback])
        return Activation(fallback, iterations, cause=activation)

    # -- what others ask -----------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """The run's status as the facts have it."""
        if self.is_cancelling:
            return "cancelling" if self._is_busy_cancelling() else "cancelled"
        if self.pending:
            return "running"
        if self.opened:
            return "running" if self._busy else "awaiting"
        return "failed" if self._unhandled else "completed"

    def _is_busy_cancelling(self) -> bool:
        return any(opened.kind == "subflow" for opened in self.opened.values())

    def find_activation(self, key: str) -> Activation | None:
        """An activation decided so far, by key."""
        return self._activations.get(key)

    def select_input(self, activation: Activation) -> Selection:
        """Which arrivals decide the activation's input."""
        return self._selections.get(activation.key, Selection())

    def find_caught(self, activation: Activation) -> tuple[Stored | None, NodeFailure] | None:
        """For a fallback: the failed node's input and its failure."""
        return self._caught.get(activation.key)

    def take_snapshot(self, activation: Activation | None = None) -> Snapshot:
        """The context as it is now, as ``activation`` sees it."""
        caught = None if activation is None else self._caught.get(activation.key)
        error = None
        if caught is not None:
            failure = caught[1]
            blueprint_id = self.plan.blueprint.id
            error = Stored(
                encode({"message": failure.message, "nodeId": failure.node_id, "blueprintId": blueprint_id})
            )
        return Snapshot(self.context, self.version, self.plan.order, error)

    def next_attempt(self, key: str) -> int:
        """Number of the attempt that comes next: above 1 after a delayed retry."""
        return self._retries.get(key, 1)

    def reopen(self, key: str) -> Activation | None:
        """Make a delayed retry pending again; its next attempt goes on counting."""
        opened = self.opened.get(key)
        activation = self._activations.get(key)
        if opened is None or activation is None or opened.kind != "retry":
            return None
        del self.opened[key]
        self._busy.discard(key)
        self._retries[key] = opened.attempt
        self.pending[key] = activation
        return activation

    @property
    def failed_nodes(self) -> list[str]:
        """Ids of nodes that failed, handled or not; batch items count as failures of no node."""
        failed = (failure for failure in self.failures if self._activations[failure.activation].item is None)
        return sorted({failure.node_id for failure in failed})

    @property
    def skipped_nodes(self) -> list[str]:
        """Nodes with a taken edge into them of which no activation began."""
        return sorted(self._reached - self._begun)


def decide(plan: Plan, context: Mapping[str, Stored], commits: Iterable[Sequence[Fact]]) -> RunState:
    """Fold a run's commits into what is to be done next.

    Args:
        plan: the compiled blueprint.
        context: the initial context.
        commits: the facts of each commit, in commit order.

    Returns:
        The state: what is pending, open, failed, and the run's status.
    """
    state = RunState(plan, context)
    for facts in commits:
        state.apply(list(facts))
    return state


def find_edge_owner(activation: Activation, edge: PlannedEdge) -> Activation:
    """The activation an edge belongs to: this one, or the failed one a fallback inherited it from."""
    owner: Activation | None = activation
    while owner is not None:
        if owner.node_id == edge.spec.source:
            return owner
        owner = owner.cause
    return activation


def _is_short_retry(fact: Opened) -> bool:
    """Whether a sub-flow's next attempt comes so soon that the run does not count as waiting for it."""
    return fact.kind == "retry" and fact.details.get("wakeAt", fact.at) - fact.at <= LONGEST_INLINE_DELAY
