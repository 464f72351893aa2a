"""Runs that other programs announce by rows in the layout of Flowcraft's documents."""

from __future__ import annotations

from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.errors import SchemaMismatch

RUNNING = "running"
_COLUMNS = {"contexts": ("runid", "data"), "statuses": ("runid", "status")}


class CassandraExternalStarts:
    """An ``ExternalStarts`` on two tables that another program writes; they are only read.

    Args:
        session: the connection; its settings name the tables.
    """

    def __init__(self, session: CassandraSession) -> None:
        settings = session.settings
        self._session = session
        self._keyspace = settings.external_keyspace or settings.keyspace
        self._names: dict[str, str] = settings.external_tables.model_dump()
        self._is_checked = False

    async def read_context(self, run_id: str) -> bytes | None:
        """See ``ExternalStarts.read_context``.

        Raises:
            StoreUnavailable: nobody answers.
            SchemaMismatch: the tables are not there, or are not in that layout.
        """
        if not self._is_checked:
            await self._check()
        status = await self._read("statuses", run_id)
        return (await self._read("contexts", run_id) or "").encode() or None if status == RUNNING else None

    async def _read(self, table: str, run_id: str) -> str | None:
        key, column = _COLUMNS[table]
        # The names come from settings, which check them; the value is bound.
        text = f"SELECT {column} FROM {self._keyspace}.{self._names[table]} WHERE {key} = %s"  # noqa: S608
        rows = await self._session.run_cql(text, (run_id,))
        return rows[0][0] if rows else None

    async def _check(self) -> None:
        """A table that cannot be read would look like a server that is away, and be asked for ever."""
        for table, columns in _COLUMNS.items():
            rows = await self._session.run_cql(
                "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
                (self._keyspace, self._names[table]),
            )
            found = {(name, kind) for name, kind in rows}
            missing = [name for name in columns if (name, "text") not in found]
            if missing:
                reason = f"lacks the column '{missing[0]} text' that accept_external_starts reads"
                raise SchemaMismatch(reason, table=f"{self._keyspace}.{self._names[table]}")
        self._is_checked = True
