"""What the three programs share: where the servers are, and what is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from examples.moderation import app
from flowcraft_dagster import Kafka, KafkaAdapter, RedisCoordinationStore

# isort: split
# After the line above, which lets the driver be imported on every Python.
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy

TOPIC_NAME = os.environ.get("KAFKA_TOPIC", "flowcraft-jobs")
GROUP_ID = os.environ.get("KAFKA_GROUP", "flowcraft-worker-group")
KEYSPACE = os.environ.get("CASSANDRA_KEYSPACE", "flowcraft_ks")


@dataclass(frozen=True)
class UseCase:
    """What the client starts."""

    main_workflow_id: str
    initial_context: Mapping[str, str]


ACTIVE_USE_CASE = "4.content-moderation"
CONFIG = {
    "4.content-moderation": UseCase(
        main_workflow_id="content-moderation",
        initial_context={"userId": "user-1", "userPost": "Write to me: jane@example.com"},
    ),
}


@contextmanager
def connect_cassandra() -> Iterator[Cluster]:
    """The cluster that ``CASSANDRA_CONTACT_POINTS``, ``CASSANDRA_PORT`` and ``CASSANDRA_DATACENTER`` name."""
    datacenter = os.environ["CASSANDRA_DATACENTER"]
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy(local_dc=datacenter))
    cluster = Cluster(
        contact_points=os.environ["CASSANDRA_CONTACT_POINTS"].split(","),
        port=int(os.environ.get("CASSANDRA_PORT", "9042")),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def connect(client_id: str) -> Iterator[tuple[KafkaAdapter, Cluster]]:
    """The adapter around clients for the servers that the environment names, and the Cassandra client among them."""
    # 1. Instantiate clients for your infrastructure.
    kafka = Kafka(brokers=os.environ["KAFKA_BROKERS"].split(","), client_id=client_id)
    with connect_cassandra() as cassandra_client, Redis.from_url(os.environ["REDIS_URL"]) as redis:
        # 2. Create the coordination store. 3. Instantiate the adapter.
        adapter = KafkaAdapter(
            kafka=kafka,
            cassandra_client=cassandra_client,
            coordination_store=RedisCoordinationStore(redis),
            topic_name=TOPIC_NAME,
            group_id=GROUP_ID,
            keyspace=KEYSPACE,
            context_table_name="contexts",
            status_table_name="statuses",
            runtime_options={
                "registry": app.nodes,
                "blueprints": app.blueprints,
                "dependencies": app.dependencies,
            },
        )
        with adapter:
            # Makes the tables and topics that are missing; instead of the scripts of the documents.
            for name in adapter.create_schema():
                print(f"made {name}")
            yield adapter, cassandra_client
