"""Making the tables, and refusing a file that is not ours."""

from __future__ import annotations

import sqlite3
import uuid
from importlib import resources

from flowcraft_dagster.errors import SchemaMismatch

VERSION = 1
FORMAT = "flowcraft-dagster"


def check_schema(connection: sqlite3.Connection, path: str) -> bool:
    """Look whether the file has our tables.

    Returns:
        False when the file is empty, True when it has our tables.

    Raises:
        SchemaMismatch: it has other tables, or was written by a newer release.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    if not tables:
        return False
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall()) if "meta" in tables else {}
    if meta.get("format") != FORMAT:
        raise SchemaMismatch(f"the file has tables of another program ({', '.join(sorted(tables)[:3])})", table=path)
    version = int(meta.get("version", "0"))
    if version > VERSION:
        raise SchemaMismatch(
            f"written by a newer release (layout {version}, this one knows {VERSION}); upgrade flowcraft-dagster",
            table=path,
        )
    return True


def create_tables(connection: sqlite3.Connection, path: str, partitions: int) -> None:
    """Make all tables in one transaction, unless another process was faster.

    Raises:
        SchemaMismatch: see ``check_schema``.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if check_schema(connection, path):
            connection.execute("ROLLBACK")
            return
        for statement in _read_statements():
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("format", FORMAT),
                ("version", str(VERSION)),
                ("partitions", str(partitions)),
                ("requests_topic_id", uuid.uuid4().hex),
            ],
        )
        connection.executemany("INSERT INTO partitions VALUES (?, NULL)", [(place,) for place in range(partitions)])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """What the file says about itself: format, version, partitions, requests_topic_id."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())


def _read_statements() -> list[str]:
    text = resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for statement in map(str.strip, plain.split(";")) if statement]
