"""Importing the driver where none of its event loops is to be had.

The driver looks for an event loop while it is imported: libev when its C extension was built, else asyncore, which
Python 3.12 has no more; without either the import fails. We bring a connection class of our own, so it only has to
be kept from failing.
"""

from __future__ import annotations

import importlib
import sys
import types

ASYNCORE_REACTOR = "cassandra.io.asyncorereactor"


def allow_import() -> None:
    """Let the driver find its asyncio reactor in asyncore's place when libev is missing; harmless when repeated."""
    try:
        importlib.import_module("cassandra.io.libevwrapper")
    except ImportError:
        if ASYNCORE_REACTOR not in sys.modules:
            stand_in = types.ModuleType(ASYNCORE_REACTOR)
            reactor = importlib.import_module("cassandra.io.asyncioreactor")
            stand_in.__dict__["AsyncoreConnection"] = reactor.AsyncioConnection
            sys.modules[ASYNCORE_REACTOR] = stand_in
