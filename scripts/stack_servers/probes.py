"""One real protocol request per server: an open port alone does not mean that a server works."""

from __future__ import annotations

import socket
import struct

from stack_servers.ports import LOOPBACK

_TIMEOUT_SECONDS = 2.0


def kafka_answers(port: int) -> bool:
    """Whether the broker lists a broker in its metadata, which it does once it takes requests."""
    # Metadata, version 4: header (key, version, correlation id, client id), no topics, no auto-creation.
    client = b"stack"
    request = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">i?", 0, False)
    try:
        with _connect(port) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            # Correlation id, throttle time, number of brokers.
            correlation, _, brokers = struct.unpack_from(">iii", _read(connection, size))
    except (OSError, struct.error):
        return False
    return bool(correlation == 1 and brokers > 0)


def cassandra_answers(port: int) -> bool:
    """Whether the node answers OPTIONS with SUPPORTED in version 4 of the native protocol."""
    try:
        with _connect(port) as connection:
            connection.sendall(struct.pack(">BBhBi", 0x04, 0, 0, 0x05, 0))
            header = _read(connection, 9)
    except OSError:
        return False
    return header[0] == 0x84 and header[4] == 0x06


def redis_answers(port: int) -> bool:
    """Whether the server answers PING with PONG."""
    try:
        with _connect(port) as connection:
            connection.sendall(b"PING\r\n")
            return _read(connection, 7) == b"+PONG\r\n"
    except OSError:
        return False


def _connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=_TIMEOUT_SECONDS)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            message = "the server closed the connection"
            raise ConnectionError(message)
        data += part
    return data
