"""How the suites reach the backend under test."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from flowcraft_dagster.ports.backend import Backend

C = TypeVar("C", bound="BackendContract")


class BackendContract(ABC):
    """What every suite needs to know of a backend.

    Derive a class named ``Test...`` from each suite and say how to connect. Tests are plain functions that run a
    loop of their own, so no plugin is needed. Where a suite shares a server between tests, ``connect`` must use names
    (a keyspace, a topic) of this test alone.

    Attributes:
        patience: seconds within which what must happen has happened.
        quiet: seconds without news after which nothing more is expected.

    Example:
        >>> class TestState(StateStoreContract):  # doctest: +SKIP
        ...     async def connect(self):
        ...         backend = MyBackend(self.folder)
        ...         await backend.open()
        ...         return backend
    """

    patience: float = 10.0
    quiet: float = 0.3

    @abstractmethod
    async def connect(self) -> Backend:
        """Open one more backend over this test's storage, schema included; the suite closes it."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Backend]:
        """A backend for the length of a block: what another process would have."""
        backend = await self.connect()
        try:
            yield backend
        finally:
            await backend.close()

    async def eventually(self, check: Callable[[], Awaitable[bool]], what: str) -> None:
        """Ask ``check`` again and again until it is true.

        Raises:
            AssertionError: it was not true within ``patience``.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while not await check():
            if loop.time() > end:
                raise AssertionError(f"not within {self.patience:g} s: {what}")
            await asyncio.sleep(0.02)


def on_backend(scenario: Callable[[C, Backend], Awaitable[None]]) -> Callable[[C], None]:
    """Make a test of a scenario over an open backend."""

    def test(self: C) -> None:
        async def drive() -> None:
            async with self.connected() as backend:
                await scenario(self, backend)

        asyncio.run(drive())

    # Not functools.wraps: pytest would follow it and take ``backend`` for a fixture.
    names: dict[str, Any] = {"__name__": scenario.__name__, "__doc__": scenario.__doc__}
    for name, value in names.items():
        setattr(test, name, value)
    return test
