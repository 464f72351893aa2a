from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_dagster.backends.cassandra.buckets import (
    FINISHED,
    LIVE,
    SHARDS,
    TIMER,
    find_bucket,
    find_end,
    find_shard,
)
from flowcraft_dagster.backends.cassandra.headers import (
    decode_header,
    encode_header,
    read_head,
    write_parent,
    write_tags,
)
from flowcraft_dagster.backends.cassandra.runs import check_commit, read_run
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.cassandra.statements import HEAD_COLUMNS
from flowcraft_dagster.errors import SizeLimitExceeded
from flowcraft_dagster.ports.records import COMPLETED, Commit, ParentLink, Row, RunHeader, Signal

HEADER = RunHeader("run-1", "bp", "a" * 64, "b" * 64, "running", 2, "w", 3, 10.25, 11.125)
FULL = replace(
    HEADER, parent=ParentLink("p", "sub#1.2", 3), reason="é\n", tags={"dagster": "ü"}, retry_of="old", finished_at=12.5
)


@pytest.mark.parametrize("header", [HEADER, FULL])
def test_a_header_comes_back_from_its_json(header: RunHeader) -> None:
    assert decode_header(encode_header(header)) == header


@pytest.mark.parametrize("header", [HEADER, FULL])
def test_a_header_comes_back_from_its_columns(header: RunHeader) -> None:
    columns = {name: getattr(header, name) for name in HEAD_COLUMNS if hasattr(header, name)}
    columns |= {"run_seq": header.seq, "parent": write_parent(header.parent), "tags": write_tags(header.tags)}
    values = [columns.get(name) for name in HEAD_COLUMNS]
    assert read_head("run-1", values) == header
    values[HEAD_COLUMNS.index("touched_at")] = 99.0
    assert read_head("run-1", values) == replace(header, updated_at=99.0)


def test_a_heartbeat_does_not_move_an_ended_run() -> None:
    values = [None] * len(HEAD_COLUMNS)
    assert read_head("run-1", values) is None
    columns = {"status": COMPLETED, "epoch": 1, "run_seq": 1, "started_at": 1.0, "updated_at": 2.0, "touched_at": 9.0}
    header = read_head("run-1", [columns.get(name) for name in HEAD_COLUMNS])
    assert header is not None
    assert header.updated_at == 2.0


def test_a_run_is_read_as_of_its_head() -> None:
    rows = [
        ("c", None, b'{"a":1}', None),
        ("f/end/b", 2, b"2", b"x"),
        ("f/end/a", 1, b"1", None),
        ("f/end/c", 4, b"later", None),
        ("s/answer/x", None, b"s", None),
        (None, None, None, None),
    ]
    run = read_run(HEADER, rows)
    assert run.context == b'{"a":1}'
    assert run.rows == (Row("end/a", 1, b"1", None), Row("end/b", 2, b"2", b"x"))
    assert run.signals == (Signal("answer/x", b"s"),)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ((Row("end/a", 1, b"x" * 11, None),), "data of 'end/a'"),
        ((Row("end/a", 1, b"x", b"y" * 11),), "output of 'end/a'"),
        (tuple(Row(f"end/{place}", 1, b"x" * 9, None) for place in range(4)), "one commit of 4 rows"),
    ],
)
def test_large_values_are_refused_by_name(rows: tuple[Row, ...], what: str) -> None:
    settings = CassandraSettings(max_value_bytes=10, max_commit_bytes=30)
    commit = Commit("run-1", "c", 0, 0, 1, "w", rows, "running", 1.0)
    with pytest.raises(SizeLimitExceeded, match=what):
        check_commit(commit, settings)
    check_commit(replace(commit, rows=rows[:1]) if len(rows) > 1 else replace(commit, rows=()), settings)


@given(st.sampled_from([LIVE, FINISHED, TIMER]), st.floats(0, 4e9))
def test_a_moment_lies_in_its_bucket(kind: str, moment: float) -> None:
    bucket = find_bucket(kind, moment)
    assert find_end(kind, bucket - 1) <= moment < find_end(kind, bucket)


@given(st.text(max_size=200))
def test_every_run_has_a_shard(run_id: str) -> None:
    assert 0 <= find_shard(run_id) < SHARDS


def test_shards_never_move() -> None:
    assert [find_shard(f"run-{place}") for place in range(1, 9)] == [3, 1, 7, 4, 2, 0, 6, 7]
