"""The session without a server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from flowcraft_dagster.backends.cassandra import driver
from flowcraft_dagster.backends.cassandra.session import CassandraSession
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.distributed import KafkaBackend


class SilentCluster:
    """A cluster, and its session, that prepares statements, knows of nothing, and answers slowly."""

    def __init__(self) -> None:
        self.metadata = self

    def all_hosts(self) -> list[Any]:
        return []

    def execute(self, text: str, parameters: Any, timeout: float) -> list[tuple[Any, ...]]:
        time.sleep(0.02)
        return [("5.0", "dc1")] if "system.local" in text else []

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


async def test_whoever_opens_a_backend_while_its_health_is_checked_keeps_it_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[SilentCluster] = []

    def connect(*_: Any) -> tuple[SilentCluster, SilentCluster]:
        made.append(SilentCluster())
        return made[-1], made[-1]

    monkeypatch.setattr(driver, "connect_cluster", connect)
    backend = KafkaBackend()
    checking = asyncio.ensure_future(backend._check_cassandra())
    await asyncio.sleep(0)
    await backend.open()
    report = await checking
    assert "missing tables" in report.detail
    assert backend._session.is_open
    assert len(made) == 2
    await backend.close()
