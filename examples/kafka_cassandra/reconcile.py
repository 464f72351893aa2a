"""The reconciler: ``python -m examples.kafka_cassandra.reconcile [SECONDS]``. Run it from time to time."""

from __future__ import annotations

import sys

from examples.kafka_cassandra.shared import KEYSPACE, connect
from flowcraft_dagster import create_kafka_reconciler


def main(stalled_threshold_seconds: float) -> int:
    """Make one pass. Returns the exit code."""
    with connect("flowcraft-reconciler-app") as (adapter, cassandra_client):
        reconciler = create_kafka_reconciler(
            adapter=adapter,
            cassandra_client=cassandra_client,
            keyspace=KEYSPACE,
            status_table_name="statuses",
            stalled_threshold_seconds=stalled_threshold_seconds,
        )
        print("Starting reconciliation cycle...")
        stats = reconciler.run()
        print(
            f"Reconciliation complete. Stalled: {stats.stalled_runs}, Resumed: {stats.reconciled_runs}, "
            f"Failed: {stats.failed_runs}"
        )
    return 1 if stats.failed_runs else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 300.0))
