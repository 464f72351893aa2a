"""The Cassandra stores pass their suites on a real server."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from flowcraft_dagster.backends.cassandra.settings import CassandraTables
from flowcraft_dagster.testing.contracts import RunIndexContract, StateStoreContract, WorkerRegistryContract
from tests.contract.conftest import Servers, create_layout
from tests.contract.real_servers import OnRealServers

pytestmark = pytest.mark.cassandra


class TestState(OnRealServers, StateStoreContract):
    pass


class TestIndex(OnRealServers, RunIndexContract):
    late_seconds = 1.0

    @pytest.fixture(autouse=True)
    def make_listings(self, make_storage: None, servers: Servers) -> None:
        """Listings that show this test's runs only."""
        mark = uuid.uuid4().hex[:8]
        names = {name: f"{name}_{mark}" for name in ("live_runs", "finished_runs", "buckets", "timers")}
        self.cassandra = servers.cassandra.model_copy(update={"tables": CassandraTables(**names)})
        asyncio.run(create_layout(self.cassandra))


class TestWorkers(OnRealServers, WorkerRegistryContract):
    pass
