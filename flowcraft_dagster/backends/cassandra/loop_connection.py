"""The driver's connections on our own asyncio loop, without a thread of their own.

The driver's reactors run on a thread: every request then crosses threads twice, and both crossings contend for the
interpreter's lock. Here the loop that makes a request also sends it and reads the answer, which takes a third less
processor time for each. The rule of every reactor holds: nothing that the driver calls back may block.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from cassandra.connection import Connection, ConnectionShutdown

logger = logging.getLogger(__name__)

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LoopTimer:
    """A timer of the driver; may be made and cancelled on any thread.

    Args:
        loop: where it runs.
        thread_id: of that loop.
        seconds: until it is due.
        callback: what is due.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread_id: int, seconds: float, callback: Callable[[], Any]
    ) -> None:
        self._callback: Callable[[], Any] | None = callback
        self._handle: asyncio.TimerHandle | None = None
        self._loop = loop
        self._thread_id = thread_id
        when = loop.time() + seconds
        # Every request has a timer, and is made and answered on the loop: no need to wake it up for that.
        if threading.get_ident() == thread_id:
            self._start(when)
        else:
            call_on_loop(loop, self._start, when)

    def cancel(self) -> None:
        """Forget the callback."""
        self._callback = None
        if self._handle is None:
            return
        if threading.get_ident() == self._thread_id:
            self._handle.cancel()
        else:
            call_on_loop(self._loop, self._handle.cancel)

    def _start(self, when: float) -> None:
        if self._callback is not None:
            self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class LoopConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """One connection to a node; made by ``bind_to_loop``.

    Attributes:
        loop: where it reads and writes.
        thread_id: of that loop.
    """

    loop: ClassVar[asyncio.AbstractEventLoop]
    thread_id: ClassVar[int]
    is_closed: bool

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], Any]) -> LoopTimer:
        """See ``Connection.create_timer``."""
        return LoopTimer(cls.loop, cls.thread_id, timeout, callback)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outgoing: deque[bytes] = deque()
        self._is_writing = False
        self._connect_socket()
        self._socket.setblocking(False)
        self._descriptor = self._socket.fileno()
        call_on_loop(self.loop, self._start)
        self._send_options_message()

    def push(self, data: bytes) -> None:
        """See ``Connection.push``; any thread."""
        if threading.get_ident() == self.thread_id:
            self._enqueue(data)
        else:
            call_on_loop(self.loop, self._enqueue, data)

    def close(self) -> None:
        """See ``Connection.close``; any thread."""
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
        if not call_on_loop(self.loop, self._stop):
            # A thread of the driver was still connecting when the loop ended.
            self._socket.close()
        if not self.is_defunct:
            self.error_all_requests(ConnectionShutdown(f"Connection to {self.endpoint} was closed"))
        self.connected_event.set()

    # From here on everything runs on the loop.

    def _start(self) -> None:
        if not self.is_closed:
            self.loop.add_reader(self._descriptor, self._read)

    def _stop(self) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(self._descriptor)
            self.loop.remove_writer(self._descriptor)
        self._socket.close()

    def _enqueue(self, data: bytes) -> None:
        self._outgoing.append(data)
        if not self._is_writing:
            self._is_writing = True
            # Requests of one turn of the loop leave together.
            self.loop.call_soon(self._write)

    def _write(self) -> None:
        if self.is_closed:
            self._outgoing.clear()
            return
        data = self._outgoing.popleft() if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        try:
            sent = self._socket.send(data)
        except _NOT_NOW:
            sent = 0
        except OSError as error:
            self._is_writing = False
            self.defunct(error)
            return
        if sent < len(data):
            self._outgoing.appendleft(data[sent:])
            self.loop.add_writer(self._descriptor, self._write_rest)
        else:
            self._is_writing = False

    def _write_rest(self) -> None:
        self.loop.remove_writer(self._descriptor)
        self._write()

    def _read(self) -> None:
        if self.is_closed:
            return
        received = 0
        try:
            # Until it would block: an encrypted socket may hold more than the descriptor tells.
            while True:
                data = self._socket.recv(self.in_buffer_size)
                if not data:
                    break
                received += len(data)
                self._iobuf.write(data)
                if len(data) < self.in_buffer_size and not isinstance(self._socket, ssl.SSLSocket):
                    break
        except _NOT_NOW:
            if not received:
                return
        except OSError as error:
            self.defunct(error)
            return
        if received:
            self.process_io_buffer()
        else:
            logger.debug("%s closed the connection", self.endpoint)
            self.close()


def bind_to_loop(loop: asyncio.AbstractEventLoop) -> type[LoopConnection]:
    """A connection class for the loop that runs on this thread."""
    return type("BoundLoopConnection", (LoopConnection,), {"loop": loop, "thread_id": threading.get_ident()})


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., Any], *args: Any) -> bool:
    """Call something on a loop, soon; False, and nothing happens, when the loop is closed."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        logger.debug("the loop was closed before its connections")
        return False
    return True
