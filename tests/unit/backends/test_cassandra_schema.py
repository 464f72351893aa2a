from __future__ import annotations

import re

import pytest

from flowcraft_dagster.backends.cassandra.schema import Column, find_missing, list_tables, write_keyspace
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings, CassandraTables
from flowcraft_dagster.backends.cassandra.statements import HEAD_COLUMNS, write_statements
from flowcraft_dagster.errors import SchemaMismatch

SETTINGS = CassandraSettings(keyspace="ks1", tables=CassandraTables(contexts="my_runs"))
OURS = {table.name: dict(table.columns) for table in list_tables(SETTINGS)}


def test_a_made_layout_is_complete() -> None:
    assert find_missing(SETTINGS, OURS) == ()
    assert [table.name for table in find_missing(SETTINGS, {})] == list(OURS)


def test_more_columns_are_no_harm() -> None:
    later = {name: {**columns, "later": Column("regular", "text")} for name, columns in OURS.items()}
    assert find_missing(SETTINGS, later) == ()


def test_the_pages_layout_is_recognised() -> None:
    page = {
        "contexts": {"runid": Column("partition_key", "text"), "data": Column("regular", "text")},
        "statuses": {
            "runid": Column("partition_key", "text"),
            "status": Column("regular", "text"),
            "updated_at": Column("regular", "timestamp"),
        },
    }
    with pytest.raises(SchemaMismatch) as refused:
        find_missing(CassandraSettings(), page)
    assert refused.value.table == "flowcraft_ks.contexts"
    assert "'runid'" in str(refused.value)
    assert "runid text, data text" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq": None}, "lacks the column 'seq'"),
        ({"seq": Column("regular", "bigint")}, "'seq' is regular bigint instead of regular int"),
        ({"epoch": Column("regular", "int")}, "'epoch' is regular int instead of static int"),
        ({"extra": Column("clustering", "text")}, "key column 'extra'"),
    ],
)
def test_another_layout_is_named(change: dict[str, Column | None], message: str) -> None:
    columns = {name: column for name, column in {**OURS["my_runs"], **change}.items() if column is not None}
    with pytest.raises(SchemaMismatch, match=message):
        find_missing(SETTINGS, {**OURS, "my_runs": columns})


def test_tables_are_made_with_their_keys() -> None:
    (contexts, _, live, *_) = list_tables(SETTINGS)
    assert contexts.as_cql("ks1").startswith(
        "CREATE TABLE IF NOT EXISTS ks1.my_runs (run_id text, key text, status text static"
    )
    assert contexts.as_cql("ks1").endswith("PRIMARY KEY ((run_id), key))")
    assert live.as_cql("ks1").endswith("PRIMARY KEY ((bucket, shard), run_id))")


def test_the_keyspace_is_made_as_told() -> None:
    assert write_keyspace(CassandraSettings(replication=None)) is None
    simple = write_keyspace(CassandraSettings(replication={"*": 2}))
    assert simple is not None
    assert simple.endswith("{'class': 'SimpleStrategy', 'replication_factor': 2}")
    network = write_keyspace(CassandraSettings(replication={"eu": 3, "us": 2}))
    assert network is not None
    assert network.endswith("{'class': 'NetworkTopologyStrategy', 'eu': 3, 'us': 2}")


def test_no_statement_scans_or_leaves_the_keyspace() -> None:
    for name, text in write_statements(SETTINGS).items():
        assert "ALLOW FILTERING" not in text
        tables = re.findall(r"(?:FROM|INTO|UPDATE) (\S+)", text)
        assert tables, name
        for table in tables:
            keyspace, _, plain = table.partition(".")
            assert keyspace == "ks1"
            assert plain in OURS


def test_every_value_is_bound() -> None:
    # Quotes stand only around the fixed statuses of the conditions.
    for text in write_statements(SETTINGS).values():
        assert set(re.findall(r"'([^']*)'", text)) <= {
            "running",
            "awaiting",
            "cancelling",
            "completed",
            "failed",
            "cancelled",
        }


def test_the_head_is_the_static_part() -> None:
    static = {name for name, column in OURS["my_runs"].items() if column.kind == "static"}
    assert static == set(HEAD_COLUMNS)
