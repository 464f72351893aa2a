"""Suites that every backend must pass.

Derive a class named ``Test...`` from each suite, say how to connect, and let pytest collect it::

    class TestState(StateStoreContract):
        async def connect(self) -> Backend:
            backend = MyBackend(...)
            await backend.open()
            return backend

Failed comparisons are explained in full after
``pytest.register_assert_rewrite("flowcraft_dagster.testing.contracts")`` in a ``conftest.py``.
"""

from __future__ import annotations

from flowcraft_dagster.testing.contracts.coordination import CoordinationContract
from flowcraft_dagster.testing.contracts.harness import BackendContract, on_backend
from flowcraft_dagster.testing.contracts.index import RunIndexContract
from flowcraft_dagster.testing.contracts.jobs import JobQueueContract
from flowcraft_dagster.testing.contracts.letters import DeadLettersContract, RequestQueueContract
from flowcraft_dagster.testing.contracts.state import StateStoreContract
from flowcraft_dagster.testing.contracts.workers import WorkerRegistryContract

__all__ = [
    "BackendContract",
    "CoordinationContract",
    "DeadLettersContract",
    "JobQueueContract",
    "RequestQueueContract",
    "RunIndexContract",
    "StateStoreContract",
    "WorkerRegistryContract",
    "on_backend",
]
