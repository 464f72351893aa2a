"""TCP ports on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from stack_servers.errors import StackError

LOOPBACK = "127.0.0.1"

# Below the range that Linux takes outgoing connections from (32768 and up). A client that keeps
# trying a stopped server's port inside that range can be given the very same port for its own end,
# connects to itself, and the server cannot bind any more.
_FREE_RANGE = range(15000, 32000)


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def pick_free(taken: Collection[int]) -> int:
    """A free port that is not in ``taken``.

    Raises:
        StackError: no free port was found.
    """
    for port in random.sample(_FREE_RANGE, 500):
        if port not in taken and is_free(port):
            return port
    message = f"no free port between {_FREE_RANGE.start} and {_FREE_RANGE.stop}"
    raise StackError(message)
