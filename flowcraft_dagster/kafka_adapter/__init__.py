"""The adapter under the names of Flowcraft's documents: worker, client and reconciler around ready-made clients.

Thin: everything is done by the same worker, client, reconciler and stores as anywhere else. The adapter connects to the
servers of the given clients, with their rights, over connections of its own; the clients stay the program's.
"""

from flowcraft_dagster.kafka_adapter.adapter import Kafka, KafkaAdapter, RedisCoordinationStore
from flowcraft_dagster.kafka_adapter.reading import CassandraContext, WorkflowOutcome, wait_for_workflow
from flowcraft_dagster.kafka_adapter.reconciler import KafkaReconciler, create_kafka_reconciler

__all__ = [
    "CassandraContext",
    "Kafka",
    "KafkaAdapter",
    "KafkaReconciler",
    "RedisCoordinationStore",
    "WorkflowOutcome",
    "create_kafka_reconciler",
    "wait_for_workflow",
]
