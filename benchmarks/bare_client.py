"""What a bare client of Cassandra reaches: ``python -m benchmarks.bare_client`` prints conditional commits a second.

The driver as it comes, 64 requests in flight, and for each commit a batch of two conditional statements on one
partition: owner epoch and status must be as expected, and the node's row must not be there yet. Each commit goes to a
partition of its own. Nothing of this project is used: the figure is a ceiling, and not our own way of reaching it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent
from cassandra.policies import RoundRobinPolicy
from cassandra.query import BatchStatement, BatchType

IN_FLIGHT = 64
COMMITS = 2000
PADDING = "x" * 200


def main() -> None:
    """Measure and print."""
    hosts = os.environ.get("CASSANDRA_CONTACT_POINTS", "127.0.0.1").split(",")
    port = int(os.environ.get("CASSANDRA_PORT", "9042"))
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy())
    cluster = Cluster(hosts, port=port, execution_profiles={EXEC_PROFILE_DEFAULT: profile})
    try:
        print(json.dumps({"commits_per_s": measure_commits(cluster.connect(), COMMITS)}))
    finally:
        cluster.shutdown()


def measure_commits(session: Any, commits: int) -> float:
    """Conditional commits a second.

    Args:
        session: of the driver.
        commits: how many; their partitions are made before the clock starts.
    """
    session.execute(
        "CREATE KEYSPACE IF NOT EXISTS flowcraft_bare "
        "WITH REPLICATION = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(
        "CREATE TABLE IF NOT EXISTS flowcraft_bare.runs (run_id text, key text, value text, epoch int static, "
        "status text static, PRIMARY KEY (run_id, key))"
    )
    begin = session.prepare(
        "INSERT INTO flowcraft_bare.runs (run_id, epoch, status) VALUES (?, 1, 'running') IF NOT EXISTS"
    )
    guard = session.prepare(
        "UPDATE flowcraft_bare.runs SET status = 'running' WHERE run_id = ? IF epoch = 1 AND status = 'running'"
    )
    insert = session.prepare("INSERT INTO flowcraft_bare.runs (run_id, key, value) VALUES (?, ?, ?) IF NOT EXISTS")
    run_ids = [str(uuid.uuid4()) for _ in range(commits)]
    execute_concurrent(session, [(begin, (run_id,)) for run_id in run_ids], concurrency=IN_FLIGHT)
    batches = []
    for run_id in run_ids:
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.add(guard, (run_id,))
        batch.add(insert, (run_id, "node", PADDING))
        batches.append((batch, ()))
    began = time.perf_counter()
    execute_concurrent(session, batches, concurrency=IN_FLIGHT)
    return commits / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
