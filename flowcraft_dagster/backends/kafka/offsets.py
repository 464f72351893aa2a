"""Which offset of a partition may be stored: the one before which everything is settled, while it is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


class PartitionOffsets:
    """Delivered and settled offsets of one partition, for as long as it is held.

    Offsets may have gaps (aborted transactions, compaction): only what was delivered counts.

    Example:
        >>> offsets = PartitionOffsets()
        >>> offsets.deliver([5, 6, 8])
        >>> offsets.settle(6)
        >>> offsets.mark is None
        True
        >>> offsets.settle(5)
        >>> offsets.mark
        7
    """

    __slots__ = ("_mark", "_outstanding", "_settled")

    def __init__(self) -> None:
        self._outstanding: deque[int] = deque()
        self._settled: set[int] = set()
        self._mark: int | None = None

    @property
    def last(self) -> int:
        """The last delivered offset; -1 before the first."""
        if self._outstanding:
            return self._outstanding[-1]
        return -1 if self._mark is None else self._mark - 1

    @property
    def mark(self) -> int | None:
        """The offset to read from after a restart; None before anything is settled."""
        return self._mark

    @property
    def outstanding(self) -> int:
        """How many delivered offsets are at or above the mark."""
        return len(self._outstanding)

    def deliver(self, offsets: Iterable[int]) -> None:
        """Note delivered offsets, in growing order.

        Raises:
            ValueError: an offset does not follow the last one.
        """
        for offset in offsets:
            if offset <= self.last:
                raise ValueError(f"offset {offset} was delivered after {self.last}")
            self._outstanding.append(offset)

    def settle(self, offset: int) -> None:
        """Note that an offset is done with; a second time is no harm."""
        if not self._outstanding or offset < self._outstanding[0]:
            return
        self._settled.add(offset)
        while self._outstanding and self._outstanding[0] in self._settled:
            done = self._outstanding.popleft()
            self._settled.discard(done)
            self._mark = done + 1


@dataclass(eq=False, slots=True)
class Term:
    """One time of holding a partition; what is settled after it has ended counts for nothing.

    Attributes:
        partition: which.
        offsets: what was delivered and settled.
        stored: the offset that was last sent to the broker.
        is_open: whether messages may still be handed out.
        is_over: whether settling has no effect any more.
    """

    partition: int
    offsets: PartitionOffsets = field(default_factory=PartitionOffsets)
    stored: int | None = None
    is_open: bool = True
    is_over: bool = False
