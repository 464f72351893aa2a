"""All runs that have not ended, page by page: a listing of the latest leaves out those that are there for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from flowcraft_dagster.ports.index import RunIndex
from flowcraft_dagster.ports.records import RunHeader


async def read_live_runs(index: RunIndex, limit: int) -> AsyncIterator[Sequence[RunHeader]]:
    """Pages of live runs, child runs included, in a stable order.

    Args:
        index: lists them.
        limit: how many in a page.

    Raises:
        InfrastructureError: the listing cannot be read.
    """
    cursor: str | None = None
    while True:
        page = await index.scan_live_runs(cursor, limit)
        yield page.headers
        cursor = page.cursor
        if cursor is None:
            return
