"""Which event loop the driver runs on.

The driver decides while it is imported: libev when its C extension was built, else asyncore. Python 3.12 has no
asyncore, so without libev the import fails although the driver ships an asyncio reactor too. Importing this module
before the driver's cluster module puts that reactor where the driver looks for asyncore.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

ASYNCORE_REACTOR = "cassandra.io.asyncorereactor"


def has_libev() -> bool:
    """Whether the driver's libev extension can be loaded."""
    try:
        importlib.import_module("cassandra.io.libevwrapper")
    except ImportError:
        return False
    return True


def prepare_reactor() -> str:
    """Make sure that the driver finds a reactor; harmless when called again.

    Returns:
        ``libev`` or ``asyncio``. asyncore is never used: it is gone from Python and the slowest of the three.
    """
    if has_libev():
        return "libev"
    if ASYNCORE_REACTOR not in sys.modules:
        stand_in = types.ModuleType(ASYNCORE_REACTOR)
        reactor = importlib.import_module("cassandra.io.asyncioreactor")
        stand_in.__dict__["AsyncoreConnection"] = reactor.AsyncioConnection
        sys.modules[ASYNCORE_REACTOR] = stand_in
    return "asyncio"
