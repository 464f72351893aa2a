"""Forgetting finished runs, so that nothing grows without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flowcraft_dagster.ports.backend import Backend

PAGE = 200


async def forget_finished_runs(
    backend: Backend, until: float, on_page: Callable[[int], None] | None = None
) -> int:
    """Delete runs that ended before ``until``, with everything stored of them; live runs are never touched.

    Args:
        backend: opened ports.
        until: seconds since 1970 UTC.
        on_page: called after each page with the number of runs deleted so far.

    Returns:
        How many runs were deleted.
    """
    cursor: str | None = None
    deleted = 0
    while True:
        page = await backend.index.scan_finished_runs(cursor, until, PAGE)
        ended = [header for header in page.headers if header.finished_at is not None and header.finished_at < until]
        await asyncio.gather(*(backend.state.delete_run(header.run_id) for header in ended))
        deleted += len(ended)
        if on_page is not None:
            on_page(deleted)
        if not page.headers or page.cursor == cursor:
            return deleted
        cursor = page.cursor
