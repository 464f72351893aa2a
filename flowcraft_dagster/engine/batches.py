"""Batches: a scatter with its items, and what is kept of it for its gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored


@dataclass(slots=True)
class Batch:
    """A scatter whose items are not all done.

    Attributes:
        items: the list, as JSON values for reading.
        chunk_size: how many items run at a time, at least 1.
        started: items decided so far.
        results: outputs by index; None where undefined or not ended.
        ended: how many items are over.
        failed: whether one of them failed.
    """

    items: Sequence[Any]
    chunk_size: int
    started: int = 0
    results: dict[int, Stored | None] = field(default_factory=dict)
    ended: int = 0
    failed: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs and nothing more will start."""
        return self.ended == self.started and (self.failed or self.started == len(self.items))


class BatchResults:
    """Batches that are over, until the gathers that they lead to have ended."""

    def __init__(self) -> None:
        self._by_gather: dict[str, dict[str, tuple[tuple[int, ...], Batch]]] = {}

    def keep(self, gather: str, scatter: Activation, batch: Batch) -> None:
        """Keep a batch for a gather node."""
        self._by_gather.setdefault(gather, {})[scatter.key] = scatter.iterations, batch

    def collect(self, gather: Activation) -> list[Stored]:
        """Results of all scatters that lead to a gather, in item order; undefined ones are left out."""
        results: list[Stored] = []
        for iterations, batch in self._by_gather.get(gather.node_id, {}).values():
            if _shares_iterations(iterations, gather.iterations):
                ordered = (batch.results[index] for index in sorted(batch.results))
                results.extend(result for result in ordered if result is not None)
        return results

    def drop(self, ended: Activation) -> None:
        """Forget what an activation has collected; nothing where it is no gather."""
        kept = self._by_gather.get(ended.node_id)
        if kept:
            for key in [key for key, (own, _) in kept.items() if _shares_iterations(own, ended.iterations)]:
                del kept[key]


def _shares_iterations(scatter: tuple[int, ...], gather: tuple[int, ...]) -> bool:
    return all(left == right for left, right in zip(scatter, gather, strict=False))
