"""The worker: ``python -m examples.kafka_cassandra.worker``. Start as many as you like."""

from __future__ import annotations

import signal
import sys

from examples.kafka_cassandra.shared import connect


def main() -> None:
    """Execute jobs until told to stop."""
    # SIGTERM ends like Ctrl-C: leaving the block below lets running nodes end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("--- Starting Flowcraft Worker (Kafka/Cassandra) ---")
    with connect("flowcraft-worker-app") as (adapter, _):
        # 4. Start the worker. This connects the producer and consumer.
        adapter.start()
        print("Worker is running. Waiting for jobs...", flush=True)
        adapter.wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
