"""The reconciler over an adapter's servers."""

from __future__ import annotations

from typing import Any

from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.kafka_adapter.adapter import KafkaAdapter
from flowcraft_dagster.runtime.reconciler import Reconciler, ReconciliationStats
from flowcraft_dagster.runtime.system_clock import SystemClock


class KafkaReconciler:
    """Finds runs that stand still and wakes them; made by :func:`create_kafka_reconciler`."""

    def __init__(self, adapter: KafkaAdapter, stalled_threshold_seconds: float) -> None:
        self._adapter = adapter
        self._reconciler = Reconciler(adapter.backend, SystemClock(), stalled_after=stalled_threshold_seconds)

    def run(self) -> ReconciliationStats:
        """Make one pass. Raises InfrastructureError."""
        return self._adapter.client.call(self._reconciler.run())


def create_kafka_reconciler(
    adapter: KafkaAdapter,
    cassandra_client: Any = None,
    keyspace: str | None = None,
    status_table_name: str | None = None,
    stalled_threshold_seconds: float = 300.0,
) -> KafkaReconciler:
    """A reconciler over an adapter's servers; it needs no worker in this process.

    Args:
        adapter: says where everything is.
        cassandra_client: not needed; the adapter has its own connection.
        keyspace: the adapter's, where given.
        status_table_name: the adapter's, where given.
        stalled_threshold_seconds: how long a run must have stood still.

    Raises:
        SettingsError: a name is not the adapter's.
    """
    for name, given in (("keyspace", keyspace), ("status_table_name", status_table_name)):
        if given not in (None, getattr(adapter, name)):
            raise SettingsError(f"'{given}' is not the adapter's '{getattr(adapter, name)}'", name=name)
    return KafkaReconciler(adapter, stalled_threshold_seconds)
