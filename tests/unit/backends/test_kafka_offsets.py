from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_dagster.backends.kafka.offsets import PartitionOffsets


def test_nothing_is_marked_before_the_first_is_settled() -> None:
    offsets = PartitionOffsets()
    offsets.deliver([7, 8])
    offsets.settle(8)
    assert offsets.mark is None
    assert (offsets.last, offsets.outstanding) == (8, 2)


def test_the_mark_follows_the_settled_prefix_over_gaps() -> None:
    offsets = PartitionOffsets()
    offsets.deliver([7, 8, 11, 12])
    for offset, mark in ((8, None), (7, 9), (12, 9), (11, 13)):
        offsets.settle(offset)
        assert offsets.mark == mark
    assert offsets.outstanding == 0


def test_settling_twice_or_what_was_not_delivered_is_no_harm() -> None:
    offsets = PartitionOffsets()
    offsets.settle(3)
    offsets.deliver([5, 6])
    for offset in (5, 5, 4, 99):
        offsets.settle(offset)
    assert offsets.mark == 6
    offsets.settle(6)
    assert offsets.mark == 7


def test_offsets_only_grow() -> None:
    offsets = PartitionOffsets()
    offsets.deliver([5])
    with pytest.raises(ValueError, match="5 was delivered after 5"):
        offsets.deliver([5])
    offsets.settle(5)
    with pytest.raises(ValueError, match="4 was delivered after 5"):
        offsets.deliver([4])


@given(st.sets(st.integers(0, 60), min_size=1), st.randoms(use_true_random=False), st.integers(0, 60))
def test_the_mark_is_the_first_unsettled_offset(delivered: set[int], dice: object, count: int) -> None:
    order = sorted(delivered)
    offsets = PartitionOffsets()
    offsets.deliver(order)
    shuffled = list(order)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    settled = set(shuffled[:count])
    for offset in shuffled[:count]:
        offsets.settle(offset)
    prefix = []
    for offset in order:
        if offset not in settled:
            break
        prefix.append(offset)
    assert offsets.mark == (prefix[-1] + 1 if prefix else None)
    assert offsets.outstanding == len(order) - len(prefix)
