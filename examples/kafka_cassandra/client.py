"""The client: ``python -m examples.kafka_cassandra.client``. Starts a run and waits for its end."""

from __future__ import annotations

import random
import sys

from examples.kafka_cassandra.shared import ACTIVE_USE_CASE, CONFIG, KEYSPACE, connect
from examples.moderation import app
from flowcraft_dagster import analyze_blueprint, wait_for_workflow


def main() -> int:
    """Start a run, wait for it, and show its outcome. Returns the exit code."""
    print("--- Distributed Workflow Client (Kafka/Cassandra) ---")
    run_id = str(random.SystemRandom().randrange(1_000_000))
    use_case = CONFIG[ACTIVE_USE_CASE]
    workflow_id, initial_context = use_case.main_workflow_id, use_case.initial_context
    start_node_ids = analyze_blueprint(app.blueprints[workflow_id]).start_node_ids
    with connect("flowcraft-client-app") as (adapter, cassandra_client):
        # Initial context, status and jobs in one call: none of them can be there without the others.
        print(f"Starting run {run_id} at {', '.join(start_node_ids)}")
        adapter.client.start(workflow_id, initial_context, run_id=run_id)
        outcome = wait_for_workflow(cassandra_client, KEYSPACE, "statuses", run_id, 60_000)
    print("=============================================================")
    if outcome.status == "completed" and outcome.payload is not None:
        print(f"Workflow Run ID: {run_id} COMPLETED.")
        print("Final Output:", outcome.payload.context.get("final_output"))
    elif outcome.status == "cancelled":
        print(f"Workflow Run ID: {run_id} was successfully CANCELLED.")
        print(f"   Reason: {outcome.reason}")
    else:
        print(f"Workflow Run ID: {run_id} FAILED or timed out ({outcome.status}).")
        print(f"   Reason: {outcome.reason}")
    print("=============================================================")
    return 0 if outcome.status == "completed" else 1


if __name__ == "__main__":
    sys.exit(main())
