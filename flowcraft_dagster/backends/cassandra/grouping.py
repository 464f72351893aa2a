"""Small writes that happen in the same moment, sent together: half the work for client and server."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

from flowcraft_dagster.backends.cassandra.session import CassandraSession, Part
from flowcraft_dagster.errors import FlowcraftError


class WriteGroup:
    """Gathers plain writes of one turn of the loop into unlogged batches.

    Args:
        session: the connection.
        most: how many entries go into one batch. Servers complain above 10 partitions or 5 KiB.

    Example:
        >>> group = WriteGroup(session, most=10)  # doctest: +SKIP
        >>> await asyncio.gather(*(group.write([part]) for part in parts))  # doctest: +SKIP
    """

    def __init__(self, session: CassandraSession, most: int) -> None:
        self._session = session
        self._most = most
        self._entries: list[tuple[Sequence[Part], asyncio.Future[None]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def write(self, parts: Sequence[Part]) -> None:
        """Write an entry; returns when it is stored. Raises StoreUnavailable, or what the driver says of a value."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        if not self._entries:
            loop.call_soon(self._flush)
        self._entries.append((parts, stored))
        await stored

    def _flush(self) -> None:
        entries, self._entries = self._entries, []
        for start in range(0, len(entries), self._most):
            task = asyncio.ensure_future(self._send(entries[start : start + self._most]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, entries: Sequence[tuple[Sequence[Part], asyncio.Future[None]]]) -> None:
        waiting = [stored for _, stored in entries]
        try:
            await self._session.write_together([part for parts, _ in entries for part in parts])
        except Exception as error:  # noqa: BLE001 - whatever it is, they must not take it for a cancellation
            for stored in waiting:
                if not stored.done():
                    # An exception object for each: a traceback grows with every task that raises it.
                    stored.set_exception(copy.copy(error) if isinstance(error, FlowcraftError) else error)
        else:
            for stored in waiting:
                if not stored.done():
                    stored.set_result(None)
        finally:
            # Only when this task itself was cancelled.
            for stored in waiting:
                stored.cancel()
