"""What SQLite and the file system complain about, as errors of this package."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from flowcraft_dagster.errors import FlowcraftError, SchemaMismatch, StorageReadOnly, StoreUnavailable

STORE = "embedded"
LEAST_ROOM = 64 * 1024
"""Bytes that SQLite needs to open a file: its index of the write-ahead log has 32 KiB."""


def explain_failure(error: BaseException, path: Path) -> FlowcraftError | None:
    """Find the package's error for a failure of the storage.

    Args:
        error: what ``sqlite3`` or the operating system raised.
        path: the database file, named in the error.

    Returns:
        The error to raise, or None when the failure is the statement's own and not the storage's.
    """
    if isinstance(error, FileExistsError):
        return StorageReadOnly("there is a file of that name, and no folder", path=str(error.filename or path))
    if isinstance(error, OSError):
        return StorageReadOnly((error.strerror or str(error)).lower(), path=str(error.filename or path))
    if not isinstance(error, sqlite3.DatabaseError) or isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    ):
        return None
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreUnavailable(f"another process holds {path} ({text})", store=STORE)
    if "full" in text or "readonly" in text or "unable to open" in text:
        return StorageReadOnly(text, path=str(path))
    if "disk I/O error" in text and _is_full(path):
        return StorageReadOnly("the disk is full", path=str(path))
    if "not a database" in text:
        return SchemaMismatch("the file is not an SQLite database", table=str(path))
    if "no such table" in text or "no such column" in text:
        return SchemaMismatch(text, table=str(path))
    return StoreUnavailable(f"{path}: {text}", store=STORE)


def _is_full(path: Path) -> bool:
    """Whether there is no room for SQLite's own files: it calls that an I/O error."""
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < LEAST_ROOM
