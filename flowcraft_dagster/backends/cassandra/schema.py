"""The tables: what they look like, how they are made, and how a foreign layout is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import SchemaMismatch


@dataclass(frozen=True, slots=True)
class Column:
    """A column as ``system_schema.columns`` describes it.

    Attributes:
        kind: ``partition_key``, ``clustering``, ``static`` or ``regular``.
        type: CQL type, for example ``text``.
    """

    kind: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ours.

    Attributes:
        name: its name in the keyspace.
        columns: by name, keys first and in key order.
        options: what follows ``WITH``; may be empty.
    """

    name: str
    columns: Mapping[str, Column]
    options: str = ""

    def as_cql(self, keyspace: str) -> str:
        """The statement that makes the table unless it is there."""
        lines = [
            f"{name} {column.type}{' static' if column.kind == 'static' else ''}"
            for name, column in self.columns.items()
        ]
        partition = ", ".join(name for name, column in self.columns.items() if column.kind == "partition_key")
        clustering = [name for name, column in self.columns.items() if column.kind == "clustering"]
        key = ", ".join([f"({partition})", *clustering])
        options = f" WITH {self.options}" if self.options else ""
        return f"CREATE TABLE IF NOT EXISTS {keyspace}.{self.name} ({', '.join(lines)}, PRIMARY KEY ({key})){options}"

    def compare(self, found: Mapping[str, Column]) -> str | None:
        """Say how a stored table differs from this one; None when it will do. More columns are no harm."""
        keys = [name for name, column in found.items() if column.kind in {"partition_key", "clustering"}]
        foreign = sorted(name for name in keys if name not in self.columns)
        if foreign:
            return f"has the key column '{foreign[0]}', which is not of this layout; its columns: {_list(found)}"
        for name, column in self.columns.items():
            there = found.get(name)
            if there is None:
                return f"lacks the column '{name}'; its columns: {_list(found)}"
            if there != column:
                return (
                    f"column '{name}' is {there.kind} {there.type} instead of {column.kind} {column.type}; "
                    f"its columns: {_list(found)}"
                )
        return None


def _list(columns: Mapping[str, Column]) -> str:
    return ", ".join(f"{name} {column.type}" for name, column in columns.items())


def _columns(**kinds: str) -> dict[str, Column]:
    """Columns from ``name="kind type"``."""
    return {name: Column(*text.split(" ", 1)) for name, text in kinds.items()}


def list_tables(settings: CassandraSettings) -> tuple[Table, ...]:
    """Every table, under the names that the settings give them."""
    names = settings.tables
    return (
        Table(
            names.contexts,
            _columns(
                run_id="partition_key text",
                key="clustering text",
                # The head: written by conditional statements only, but for touched_at, which is never one's condition.
                status="static text",
                epoch="static int",
                run_seq="static int",
                owner="static text",
                commit_id="static text",
                blueprint_id="static text",
                blueprint_hash="static text",
                input_hash="static text",
                reason="static text",
                parent="static text",
                tags="static text",
                retry_of="static text",
                started_at="static double",
                updated_at="static double",
                finished_at="static double",
                touched_at="static double",
                # A fact, a signal or the initial context.
                seq="regular int",
                data="regular blob",
                output="regular blob",
            ),
        ),
        Table(
            names.statuses,
            _columns(
                run_id="partition_key text",
                status="regular text",
                blueprint_id="regular text",
                result="regular text",
                reason="regular text",
                started_at="regular timestamp",
                updated_at="regular timestamp",
                finished_at="regular timestamp",
                header="regular text",
                listed_at="regular double",
            ),
        ),
        Table(
            names.live_runs,
            _columns(
                bucket="partition_key bigint",
                shard="partition_key int",
                run_id="clustering text",
                blueprint_id="regular text",
                child="regular boolean",
                started_at="regular double",
                done="regular boolean",
                carried_by="regular text",
            ),
        ),
        Table(
            names.finished_runs,
            _columns(
                bucket="partition_key bigint",
                shard="partition_key int",
                listed_at="clustering double",
                run_id="clustering text",
                header="regular text",
            ),
        ),
        Table(names.buckets, _columns(kind="partition_key text", bucket="clustering bigint")),
        Table(
            names.timers,
            _columns(
                bucket="partition_key bigint",
                due_at="clustering double",
                run_id="clustering text",
                key="clustering text",
                done="regular boolean",
            ),
        ),
        Table(names.blueprints, _columns(content_hash="partition_key text", document="regular blob")),
        Table(
            names.deaths,
            _columns(run_id="partition_key text", activation="partition_key text", at="clustering timeuuid"),
        ),
        Table(
            names.workers,
            _columns(
                scope="partition_key text",
                worker_id="clustering text",
                slot="regular text",
                pid="regular int",
                host="regular text",
                state="regular text",
                started_at="regular double",
                seen_at="regular double",
                health="regular text",
            ),
        ),
    )


def write_keyspace(settings: CassandraSettings) -> str | None:
    """The statement that makes the keyspace unless it is there; None when the settings leave it to others."""
    if settings.replication is None:
        return None
    if "*" in settings.replication:
        options = f"'class': 'SimpleStrategy', 'replication_factor': {settings.replication['*']}"
    else:
        centres = ", ".join(f"'{name}': {count}" for name, count in settings.replication.items())
        options = f"'class': 'NetworkTopologyStrategy', {centres}"
    return f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = {{{options}}}"


def find_missing(settings: CassandraSettings, found: Mapping[str, Mapping[str, Column]]) -> tuple[Table, ...]:
    """Compare what is stored with the layout.

    Args:
        settings: name the tables.
        found: stored tables of the keyspace, by name.

    Returns:
        The tables that are not there yet.

    Raises:
        SchemaMismatch: a table of that name has another layout. Fields: table, reason.
    """
    missing: list[Table] = []
    for table in list_tables(settings):
        stored = found.get(table.name)
        if stored is None:
            missing.append(table)
            continue
        difference = table.compare(stored)
        if difference is not None:
            raise SchemaMismatch(difference, table=f"{settings.keyspace}.{table.name}")
    return tuple(missing)
