"""Who may start: taken edges arrive at joins, and a join fires once per activation.

An ``all`` join fires when every distinct source has a taken edge into it in this iteration; an edge that was not taken
never satisfies it. An ``any`` join fires on the first taken edge; of two in one commit, on the first in the
blueprint's order. An edge from outside a loop into its body counts in every iteration, for an ``any`` join only in
iterations that were entered by ``continue``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.plan import Pattern, Plan, PlannedEdge


@dataclass(frozen=True, slots=True)
class Arrival:
    """A taken edge at its target.

    Attributes:
        edge: the edge.
        pattern: the target's iterations it counts for; None stands for every one.
        value: what it carries; None where undefined.
        transformed: whether the value comes from the edge's transform.
    """

    edge: PlannedEdge
    pattern: Pattern
    value: Stored | None
    transformed: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which arrivals decide an activation's input.

    Attributes:
        default: gives the input where the node has no ``inputs``; None for a start node.
        override: the last arrival with a transform, which outranks ``inputs``; None where there is none.
    """

    default: Arrival | None = None
    override: Arrival | None = None


class _AllJoin:
    __slots__ = ("last", "last_transformed", "sources")

    def __init__(self) -> None:
        self.sources: set[str] = set()
        self.last: Arrival | None = None
        self.last_transformed: Arrival | None = None

    def add(self, arrival: Arrival) -> None:
        self.sources.add(arrival.edge.spec.source)
        index = arrival.edge.index
        # The same edge may be taken in several iterations of its source: the later one counts.
        if self.last is None or index >= self.last.edge.index:
            self.last = arrival
        if arrival.transformed and (self.last_transformed is None or index >= self.last_transformed.edge.index):
            self.last_transformed = arrival


Fired = tuple[str, tuple[int, ...], Selection]
"""A node, its iterations, and what decides its input."""


class Joins:
    """The joins of one run. Work per arrival depends on the node's own edges, not on the size of the run."""

    __slots__ = ("_entered", "_open", "_outside", "_plan")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[str, dict[tuple[int, ...], _AllJoin]] = {}
        self._outside: dict[str, list[Arrival]] = {}
        self._entered: dict[str, list[tuple[int, ...]]] = {}

    def enter(self, controller: str, iterations: tuple[int, ...]) -> list[Arrival]:
        """Note that ``controller`` took ``continue``; edges from outside into ``any`` joins arrive there now."""
        self._entered.setdefault(controller, []).append(iterations)
        return [
            Arrival(arrival.edge, counted, arrival.value, arrival.transformed)
            for target in self._plan.late.get(controller, ())
            for arrival in self._outside.get(target, ())
            for _, counted, _ in self._fire_entered(arrival, [iterations])
        ]

    def arrive(self, arrival: Arrival) -> Iterator[Fired]:
        """Let a taken edge arrive; yields what it fires. A firing may repeat; the caller starts each once."""
        target = arrival.edge.spec.target
        if None not in arrival.pattern:
            iterations = tuple(number for number in arrival.pattern if number is not None)
            if target in self._plan.is_any:
                yield _fire_any(arrival, iterations)
            else:
                yield from self._join(arrival, target, iterations)
            return
        self._outside.setdefault(target, []).append(arrival)
        if target in self._plan.is_any:
            yield from self._fire_entered(arrival, self._entered.get(self._innermost(arrival), ()))
            return
        for iterations, join in list(self._open.get(target, {}).items()):
            if _matches(arrival.pattern, iterations):
                join.add(arrival)
                yield from self._check(target, iterations, join)

    def _join(self, arrival: Arrival, target: str, iterations: tuple[int, ...]) -> Iterator[Fired]:
        joins = self._open.setdefault(target, {})
        join = joins.get(iterations)
        if join is None:
            join = joins[iterations] = _AllJoin()
            for outside in self._outside.get(target, ()):
                if _matches(outside.pattern, iterations):
                    join.add(outside)
        join.add(arrival)
        yield from self._check(target, iterations, join)

    def _check(self, target: str, iterations: tuple[int, ...], join: _AllJoin) -> Iterator[Fired]:
        if len(join.sources) == self._plan.sources[target]:
            # The join stays: a further edge of the same commit may still decide the input.
            yield target, iterations, Selection(join.last, join.last_transformed)

    def forget(self, target: str, iterations: tuple[int, ...]) -> None:
        """Drop what was kept for a join whose activation has begun."""
        joins = self._open.get(target)
        if joins is not None:
            joins.pop(iterations, None)

    def _innermost(self, arrival: Arrival) -> str:
        loops = self._plan.loops[arrival.edge.spec.target]
        return loops[-2] if arrival.edge.enters is not None else loops[-1]

    def _fire_entered(
        self, arrival: Arrival, entered: list[tuple[int, ...]] | tuple[tuple[int, ...], ...]
    ) -> Iterator[Fired]:
        own = arrival.pattern[-1:] if arrival.edge.enters is not None else ()
        outer = arrival.pattern[:-1] if own else arrival.pattern
        for iterations in list(entered):
            if _matches(outer, iterations):
                yield _fire_any(arrival, (*iterations, *(number for number in own if number is not None)))


def _fire_any(arrival: Arrival, iterations: tuple[int, ...]) -> Fired:
    return arrival.edge.spec.target, iterations, Selection(arrival, arrival if arrival.transformed else None)


def _matches(pattern: Pattern, iterations: tuple[int, ...]) -> bool:
    return len(pattern) == len(iterations) and all(
        wanted is None or wanted == number for wanted, number in zip(pattern, iterations, strict=True)
    )
