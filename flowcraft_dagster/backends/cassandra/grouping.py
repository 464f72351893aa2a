"""Small writes that happen in the same moment, sent together: half the work for client and server."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

from flowcraft_dagster.backends.cassandra.session import CassandraSession, Part
from flowcraft_dagster.errors import FlowcraftError

MOST_BYTES = 4096
"""Servers complain of batches over 5 KiB and refuse those over 50 KiB, by default."""
_VALUE_BYTES = 16
"""What a value takes beside its text, about."""

_Entry = tuple[Sequence[Part], "asyncio.Future[None]"]


class WriteGroup:
    """Gathers plain writes of one turn of the loop into unlogged batches.

    Args:
        session: the connection.
        most: how many entries go into one batch: servers complain above 10 partitions. Fewer when they are large; the
            writes of an entry that is too large by itself go one by one.

    Example:
        >>> group = WriteGroup(session, most=10)  # doctest: +SKIP
        >>> await asyncio.gather(*(group.write([part]) for part in parts))  # doctest: +SKIP
    """

    def __init__(self, session: CassandraSession, most: int) -> None:
        self._session = session
        self._most = most
        self._entries: list[_Entry] = []
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
        batch: list[_Entry] = []
        size = 0
        for entry in entries:
            more = measure(entry[0])
            if batch and (len(batch) == self._most or size + more > MOST_BYTES):
                self._start(batch)
                batch, size = [], 0
            batch.append(entry)
            size += more
        if batch:
            self._start(batch)

    def _start(self, entries: Sequence[_Entry]) -> None:
        task = asyncio.ensure_future(self._send(entries))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, entries: Sequence[_Entry]) -> None:
        waiting = [stored for _, stored in entries]
        parts = [part for some, _ in entries for part in some]
        try:
            if measure(parts) > MOST_BYTES:
                for part in parts:
                    await self._session.write_together([part])
            else:
                await self._session.write_together(parts)
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


def measure(parts: Sequence[Part]) -> int:
    """How many bytes writes take in a batch, about.

    Example:
        >>> measure([("list_live", ("run-1", 7))])
        37
    """
    values = [value for _, parameters in parts for value in parameters]
    return sum(_VALUE_BYTES + (len(value) if isinstance(value, (str, bytes)) else 0) for value in values)
