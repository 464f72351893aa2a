"""A TCP port in front of a server that a test opens and shuts: a server that is away, and comes back."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType


class Door:
    """A port of 127.0.0.1 that refuses connections until it is opened.

    Args:
        host: of the server behind it.
        port: of the server behind it.

    Attributes:
        port: the door's own.
    """

    def __init__(self, host: str, port: int) -> None:
        self._behind = (host, port)
        self._socket = self._bind(0)
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-door", daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Let connections through."""
        self._call(self._open())

    def shut(self) -> None:
        """Refuse connections, and end those that there are."""
        self._call(self._shut())

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shut()
        self._socket.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    @staticmethod
    def _bind(port: int) -> socket.socket:
        # Bound and not listening: the port is taken, and whoever calls is refused.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._welcome, sock=self._socket)

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._socket.close()
            for link in list(self._links):
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)
            self._socket = self._bind(self.port)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.ensure_future(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(*self._behind)
        ways = [asyncio.ensure_future(_pass_on(*way)) for way in ((reader, inner_writer), (inner_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, inner_writer):
                end.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
