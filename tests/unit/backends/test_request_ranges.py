from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowcraft_dagster.backends.request_ranges import plan_ranges
from flowcraft_dagster.ports.records import RequestRange


def test_an_unknown_partition_starts_at_its_beginning() -> None:
    assert plan_ranges("t", {}, {0: (4, 9)}, 100) == [RequestRange("t", 0, 4, 9)]


def test_nothing_new_is_no_range() -> None:
    assert plan_ranges("t", {0: 9}, {0: (4, 9)}, 100) == []


def test_what_retention_took_is_counted() -> None:
    assert plan_ranges("t", {0: 3}, {0: (5, 9)}, 100) == [RequestRange("t", 0, 5, 9, lost=2)]
    assert plan_ranges("t", {0: 3}, {0: (9, 9)}, 100) == [RequestRange("t", 0, 9, 9, lost=6)]


def test_a_log_that_was_cut_back_is_read_again() -> None:
    assert plan_ranges("t", {0: 50}, {0: (2, 9)}, 100) == [RequestRange("t", 0, 2, 9)]


ends = st.dictionaries(
    st.integers(0, 20), st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (p[0], p[0] + p[1])), min_size=1
)


@given(ends, st.dictionaries(st.integers(0, 20), st.integers(0, 100)), st.integers(1, 60))
def test_the_limit_is_used_up_and_kept(ends: dict[int, tuple[int, int]], at: dict[int, int], limit: int) -> None:
    ranges = plan_ranges("t", at, ends, limit)
    planned = sum(piece.end - piece.start for piece in ranges)
    waiting = 0
    for partition, (first, behind) in ends.items():
        position = at.get(partition, first)
        waiting += behind - (first if position > behind else max(first, position))
    assert planned == min(limit, waiting)
    assert len({piece.partition for piece in ranges}) == len(ranges)
    for piece in ranges:
        first, behind = ends[piece.partition]
        assert first <= piece.start <= piece.end <= behind
