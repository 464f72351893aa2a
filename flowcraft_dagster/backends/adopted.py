"""A backend beside clients that a program has already: same servers, same rights, connections of its own.

The program's clients keep their event loops, retry policies and row formats, which the promises of this package do not
rest on. So only what says where the servers are and who may enter is taken from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka.settings import SECRET_PARTS, KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.errors import SettingsError

M = TypeVar("M", bound=BaseModel)
_ACCESS = ("contact_points", "port", "auth_provider", "ssl_context", "ssl_options")
_REDIS_FIELDS = {
    "username": "username",
    "password": "password",
    "ssl_ca_certs": "tls_ca_file",
    "ssl_certfile": "tls_cert_file",
    "ssl_keyfile": "tls_key_file",
    "ssl_check_hostname": "tls_check_hostname",
}


@dataclass(frozen=True, slots=True)
class Places:
    """What the program names itself.

    Attributes:
        topic_name: of the jobs; dead letters go to ``<topic_name>.dlq``.
        group_id: of the workers.
        keyspace: with our tables.
        context_table_name, status_table_name: two of them.
    """

    topic_name: str = "flowcraft-jobs"
    group_id: str = "flowcraft-worker-group"
    keyspace: str = "flowcraft_ks"
    context_table_name: str = "contexts"
    status_table_name: str = "statuses"


def adopt_clients(kafka: Any, cassandra_client: Any, redis: Any, places: Places) -> KafkaBackend:
    """A backend on the servers of three clients; nothing is connected yet.

    Args:
        kafka: ``KafkaSettings``, or a mapping of librdkafka options as confluent-kafka's clients take it.
        cassandra_client: a ``Cluster`` or ``Session`` of cassandra-driver.
        redis: a client of redis-py, sync or async; None where no hints are needed.
        places: topic, group, keyspace and tables.

    Raises:
        SettingsError: something about a client or a name cannot be used.
    """
    cluster = getattr(cassandra_client, "cluster", cassandra_client)
    cassandra = _make(
        CassandraSettings,
        "CASSANDRA",
        {
            "contact_points": tuple(map(str, cluster.contact_points)),
            "port": cluster.port,
            "datacenter": find_local_datacenter(cluster),
            "keyspace": places.keyspace,
            "tables": {"contexts": places.context_table_name, "statuses": places.status_table_name},
        },
    )
    # A bundle's contact points are names behind a proxy, which its own factory knows how to reach.
    names = (*_ACCESS, "endpoint_factory") if getattr(cluster, "cloud", None) else _ACCESS
    access = {name: getattr(cluster, name) for name in names if getattr(cluster, name, None) is not None}
    return KafkaBackend(
        read_kafka(kafka, places),
        cassandra,
        RedisSettings() if redis is None else read_redis(redis),
        cassandra_access=access,
    )


def read_kafka(kafka: Any, places: Places) -> KafkaSettings:
    """Settings from what confluent-kafka's clients take.

    Example:
        >>> read_kafka({"bootstrap.servers": "a:9092,b:9092"}, Places()).brokers
        ('a:9092', 'b:9092')
    """
    named = {
        "jobs_topic": places.topic_name,
        "letters_topic": f"{places.topic_name}.dlq",
        "group_id": places.group_id,
    }
    if isinstance(kafka, KafkaSettings):
        return _make(KafkaSettings, "KAFKA", {**kafka.model_dump(), **named})
    if not isinstance(kafka, Mapping):
        raise SettingsError(f"a {type(kafka).__name__} is no mapping of librdkafka options", name="kafka")
    values: dict[str, Any] = {**named, "options": {}, "secret_options": {}}
    for name, value in kafka.items():
        if name == "bootstrap.servers":
            values["brokers"] = tuple(part.strip() for part in str(value).split(","))
        elif name == "client.id":
            values["client_id"] = value
        else:
            is_secret = any(part in name for part in SECRET_PARTS)
            values["secret_options" if is_secret else "options"][name] = value
    return _make(KafkaSettings, "KAFKA", values)


def read_redis(client: Any) -> RedisSettings:
    """Settings from a client's connection pool."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise SettingsError(f"a {type(client).__name__} is no client of redis-py", name="coordination_store")
    known: Mapping[str, Any] = pool.connection_kwargs
    if known.get("path"):
        url = f"unix://{known['path']}?db={known.get('db') or 0}"
    else:
        scheme = "rediss" if "SSL" in pool.connection_class.__name__ else "redis"
        host = known.get("host") or "localhost"
        host = f"[{host}]" if ":" in host else host
        url = f"{scheme}://{host}:{known.get('port') or 6379}/{known.get('db') or 0}"
    fields = {field: known[name] for name, field in _REDIS_FIELDS.items() if known.get(name) is not None}
    return _make(RedisSettings, "REDIS", {"url": url, **fields})


def find_local_datacenter(cluster: Any) -> str | None:
    """The local data centre that a cluster object was told, if any."""
    policy = cluster.profile_manager.default.load_balancing_policy
    while policy is not None:
        name = getattr(policy, "local_dc", None)
        if name:
            return str(name)
        policy = getattr(policy, "_child_policy", None)
    return None


def _make(model: type[M], prefix: str, values: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "_".join(str(part).upper() for part in first["loc"])
        raise SettingsError(first["msg"].removeprefix("Value error, "), name=f"{prefix}_{place}") from None
