"""Our tables in the keyspace: looking for them, making them, dropping them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from flowcraft_dagster.backends.cassandra.schema import Column, Table, find_missing, list_tables, write_keyspace
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings

_KIND_ORDER = {"partition_key": 0, "clustering": 1, "static": 2, "regular": 3}


class RunCql(Protocol):
    """Executes a statement; see ``CassandraSession.run_cql``."""

    def __call__(
        self, text: str, parameters: tuple[Any, ...] | None = None, /
    ) -> Awaitable[list[tuple[Any, ...]]]:
        """The rows it answers with."""
        ...


class CassandraLayout:
    """The layout of one keyspace.

    Args:
        settings: names of keyspace and tables.
        run_cql: executes statements.
    """

    def __init__(self, settings: CassandraSettings, run_cql: RunCql) -> None:
        self._settings = settings
        self._run_cql = run_cql

    async def check(self) -> tuple[Table, ...]:
        """Compare the keyspace with our layout.

        Returns:
            The tables that are missing.

        Raises:
            SchemaMismatch: a table of another layout is in the way.
            StoreUnavailable: nobody answers.
        """
        return find_missing(self._settings, await self._read_columns())

    async def create(self) -> list[str]:
        """Make what is missing; nothing is written beside a table of a foreign layout.

        Returns:
            The names of what was made.

        Raises:
            SchemaMismatch: a table of another layout is in the way.
            StoreUnavailable: nobody answers, or the right to make tables is missing.
        """
        missing = await self.check()
        made: list[str] = []
        name, keyspace = self._settings.keyspace, write_keyspace(self._settings)
        if missing and keyspace is not None and not await self._has_keyspace():
            await self._run_cql(keyspace)
            made.append(f"keyspace {name}")
        for table in missing:
            await self._run_cql(table.as_cql(name))
            made.append(f"table {name}.{table.name}")
        return made

    async def delete(self) -> None:
        """Drop the tables with everything in them, and the keyspace unless it holds others. Raises StoreUnavailable."""
        name = self._settings.keyspace
        if not await self._has_keyspace():
            return
        for table in list_tables(self._settings):
            await self._run_cql(f"DROP TABLE IF EXISTS {name}.{table.name}")
        if not await self._read_columns():
            await self._run_cql(f"DROP KEYSPACE IF EXISTS {name}")

    async def _read_columns(self) -> dict[str, dict[str, Column]]:
        rows = await self._run_cql(
            "SELECT table_name, column_name, kind, type, position FROM system_schema.columns WHERE keyspace_name = %s",
            (self._settings.keyspace,),
        )
        found: dict[str, dict[str, Column]] = {}
        for table, column, kind, type_name, _ in sorted(rows, key=lambda row: (row[0], _KIND_ORDER[row[2]], row[4])):
            found.setdefault(table, {})[column] = Column(kind, type_name)
        return found

    async def _has_keyspace(self) -> bool:
        rows = await self._run_cql(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (self._settings.keyspace,)
        )
        return bool(rows)
