"""What the embedded stores share while the backend is open."""

from __future__ import annotations

from typing import TypeVar

from flowcraft_dagster.backends.embedded.failures import STORE
from flowcraft_dagster.backends.embedded.presence import Presence
from flowcraft_dagster.backends.embedded.reader import Reader
from flowcraft_dagster.backends.embedded.schema import read_meta
from flowcraft_dagster.backends.embedded.watcher import Watcher
from flowcraft_dagster.backends.embedded.writer import WriteKind, Writer
from flowcraft_dagster.errors import StoreUnavailable
from flowcraft_dagster.ports.clock import Clock

A = TypeVar("A")
R = TypeVar("R")


class Session:
    """Writer, reader, watcher and presence of one process, between ``open`` and ``close``.

    Attributes:
        clock: wall time of leases, letters and requests.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._partitions: int | None = None
        self._topic_id: str | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._watcher: Watcher | None = None
        self._presence: Presence | None = None

    def begin(self, writer: Writer, reader: Reader, watcher: Watcher, presence: Presence) -> None:
        """Use these from now on."""
        self._writer, self._reader, self._watcher, self._presence = writer, reader, watcher, presence
        meta = reader.ask(read_meta)
        self._partitions, self._topic_id = int(meta["partitions"]), meta["requests_topic_id"]

    async def end(self) -> None:
        """Close and forget them."""
        writer, reader, watcher, presence = self._writer, self._reader, self._watcher, self._presence
        self._writer = self._reader = self._watcher = self._presence = self._partitions = self._topic_id = None
        if watcher is not None:
            watcher.close()
        if writer is not None:
            await writer.close()
        if reader is not None:
            await reader.close()
        if presence is not None:
            presence.close()

    @property
    def is_open(self) -> bool:
        """Whether the backend is open."""
        return self._writer is not None

    @property
    def partitions(self) -> int:
        """Partitions of the job queue, as the file says. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._partitions)

    @property
    def topic_id(self) -> str:
        """Identity of the request table. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._topic_id)

    @property
    def writer(self) -> Writer:
        """The writing thread. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._writer)

    @property
    def reader(self) -> Reader:
        """The reading connections. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._reader)

    @property
    def watcher(self) -> Watcher:
        """Notices changes of the file. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._watcher)

    @property
    def presence(self) -> Presence:
        """Tells the living from the dead. Raises StoreUnavailable when the backend is not open."""
        return self._require(self._presence)

    async def write(self, kind: WriteKind[A, R], argument: A) -> R:
        """Write something and wait until it is durable. Raises an InfrastructureError when that fails."""
        return await self.writer.submit(kind, argument)

    def _require(self, part: R | None) -> R:
        if part is None:
            raise StoreUnavailable("the backend is not open", store=STORE)
        return part
