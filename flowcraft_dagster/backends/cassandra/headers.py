"""Run headers as static columns and as the JSON of the listings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from flowcraft_dagster.backends.cassandra.statements import HEAD_COLUMNS
from flowcraft_dagster.ports.records import ParentLink, RunHeader


def read_head(run_id: str, values: Sequence[Any]) -> RunHeader | None:
    """A header from the static columns.

    Args:
        run_id: the partition.
        values: in the order of ``HEAD_COLUMNS``.

    Returns:
        None when the partition has no head: there is no such run.
    """
    return read_columns(run_id, dict(zip(HEAD_COLUMNS, values, strict=True)))


def read_columns(run_id: str, columns: Mapping[str, Any]) -> RunHeader | None:
    """A header from static columns by name; None when there is no head among them."""
    status = columns.get("status")
    if status is None:
        return None
    parent, tags = columns["parent"], columns["tags"]
    header = RunHeader(
        run_id=run_id,
        blueprint_id=columns["blueprint_id"],
        blueprint_hash=columns["blueprint_hash"],
        input_hash=columns["input_hash"],
        status=status,
        epoch=columns["epoch"],
        owner=columns["owner"],
        seq=columns["run_seq"],
        started_at=columns["started_at"],
        updated_at=columns["updated_at"],
        finished_at=columns["finished_at"],
        parent=None if parent is None else ParentLink(*orjson.loads(parent)),
        reason=columns["reason"],
        tags={} if tags is None else orjson.loads(tags),
        retry_of=columns["retry_of"],
    )
    touched_at = columns.get("touched_at")
    if touched_at is not None and touched_at > header.updated_at and not header.is_final:
        return replace(header, updated_at=touched_at)
    return header


def write_parent(parent: ParentLink | None) -> str | None:
    """A parent link as text; None without one."""
    return None if parent is None else orjson.dumps([parent.run_id, parent.activation, parent.attempt]).decode()


def write_tags(tags: Mapping[str, str]) -> str | None:
    """Tags as text; None without any."""
    return orjson.dumps(dict(tags)).decode() if tags else None


def encode_header(header: RunHeader) -> str:
    """A header as JSON object, for the listings."""
    return orjson.dumps(replace(header, tags=dict(header.tags))).decode()


def decode_header(text: str) -> RunHeader:
    """The header that ``encode_header`` wrote."""
    values = orjson.loads(text)
    if values["parent"] is not None:
        values["parent"] = ParentLink(**values["parent"])
    return RunHeader(**values)
