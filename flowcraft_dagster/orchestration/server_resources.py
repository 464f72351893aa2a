"""Resources for real servers: Kafka as job queue, Cassandra as state store, Redis for coordination.

Each field is a setting of the same name in the environment; an empty one is taken from there. Building a resource
connects to nothing. Passwords are given as ``dg.EnvVar``, so that they are in no definition.

Example:
    >>> KafkaBackendResource(  # doctest: +SKIP
    ...     queue=KafkaJobQueueResource(brokers=dg.EnvVar("KAFKA_BROKERS")),
    ...     store=CassandraStoreResource(contact_points="10.0.0.1,10.0.0.2", datacenter="dc1"),
    ...     coordination=RedisCoordinationResource(url=dg.EnvVar("REDIS_URL")),
    ... )
"""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import Field

from flowcraft_dagster.orchestration.resources import FlowcraftBackendResource

FURTHER = "Any further setting by its name in the environment, for example {example}; see docs/reference/settings.md."


class _ServerResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A server whose fields are settings."""

    prefix_of_settings: ClassVar[str] = ""

    def list_variables(self) -> Mapping[str, str]:
        """Settings by the names of their environment variables; what is empty comes from the environment."""
        further: dict[str, str] = getattr(self, "further", {})
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "further"}
        named = {f"{self.prefix_of_settings}_{name.upper()}": str(value) for name, value in values.items() if value}
        return {**named, **further}


class KafkaJobQueueResource(_ServerResource):
    """The job queue, dead letters and run requests on Kafka."""

    prefix_of_settings: ClassVar[str] = "KAFKA"

    brokers: str = Field(default="", description="host:port of a few brokers, separated by commas.")
    jobs_topic: str = Field(default="", description="Topic of node jobs and wakes; flowcraft-jobs by default.")
    letters_topic: str = Field(default="", description="Topic of dead letters; flowcraft-jobs.dlq by default.")
    requests_topic: str = Field(
        default="", description="Topic of requests to start runs; flowcraft-run-requests by default."
    )
    group_id: str = Field(default="", description="The workers' consumer group; flowcraft-worker-group by default.")
    security_protocol: str = Field(default="", description="PLAINTEXT (default), SSL, SASL_PLAINTEXT or SASL_SSL.")
    sasl_mechanism: str = Field(default="", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.")
    sasl_username: str = Field(default="", description="For PLAIN and SCRAM.")
    sasl_password: str = Field(default="", description="For PLAIN and SCRAM; give a dg.EnvVar.", repr=False)
    further: dict[str, str] = Field(default={}, repr=False, description=FURTHER.format(example="KAFKA_TLS_CA_FILE"))


class CassandraStoreResource(_ServerResource):
    """The state store on Cassandra."""

    prefix_of_settings: ClassVar[str] = "CASSANDRA"

    contact_points: str = Field(default="", description="Host names or addresses of a few nodes, by commas.")
    port: int = Field(default=0, ge=0, le=65535, description="Port of the native protocol; 0 for 9042.")
    datacenter: str = Field(default="", description="The local data centre; that of the first node by default.")
    keyspace: str = Field(default="", description="Where the tables are; flowcraft_ks by default.")
    username: str = Field(default="", description="For password authentication.")
    password: str = Field(default="", description="For password authentication; give a dg.EnvVar.", repr=False)
    secure_connect_bundle: str = Field(default="", description="The ZIP file from DataStax Astra.")
    further: dict[str, str] = Field(default={}, repr=False, description=FURTHER.format(example="CASSANDRA_CONSISTENCY"))


class RedisCoordinationResource(_ServerResource):
    """Leases and wake-ups on Redis. Only hints: losing all of it loses no run."""

    prefix_of_settings: ClassVar[str] = "REDIS"

    url: str = Field(
        default="", repr=False, description="redis://, rediss:// or unix://; give a dg.EnvVar when it has a password."
    )
    prefix: str = Field(default="", description="Every key begins with it; flowcraft by default.")
    further: dict[str, str] = Field(default={}, repr=False, description=FURTHER.format(example="REDIS_TLS_CA_FILE"))


class KafkaBackendResource(FlowcraftBackendResource):
    """Kafka, Cassandra and Redis together."""

    queue: dg.ResourceDependency[KafkaJobQueueResource]
    store: dg.ResourceDependency[CassandraStoreResource]
    coordination: dg.ResourceDependency[RedisCoordinationResource]

    def list_variables(self) -> Mapping[str, str]:
        """The settings of all three."""
        return {
            "FLOWCRAFT_BACKEND": "kafka",
            **self.queue.list_variables(),
            **self.store.list_variables(),
            **self.coordination.list_variables(),
        }
