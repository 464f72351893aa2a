"""The session without a server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from flowcraft_dagster.backends.cassandra import driver
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings


class SilentCluster:
    """A cluster, and its session, that prepares statements and does nothing else."""

    def prepare(self, text: str) -> Any:
        time.sleep(0.001)
        return self

    def bind(self, parameters: Any) -> Any:
        return parameters

    def shutdown(self) -> None:
        """Nothing to let go of."""


def test_it_may_be_used_again_in_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "connect_cluster", lambda *_: (SilentCluster(), SilentCluster()))
    session = CassandraSession(CassandraSettings())

    async def drive() -> None:
        await session.open()
        # They come together: one prepares, and the others wait for it.
        bound = await asyncio.gather(*(session.bind("read_head", (f"run-{number}",)) for number in range(3)))
        assert bound == [("run-0",), ("run-1",), ("run-2",)]
        await session.close()

    asyncio.run(drive())
    asyncio.run(drive())
