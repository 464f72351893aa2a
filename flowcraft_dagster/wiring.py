"""From settings to concrete backends: the only module that imports them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.external import ExternalStarts
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.settings import ENVIRONMENT_ONLY, Settings

_MISSPELT = 0.8


def make_backend(settings: Settings, clock: Clock) -> Backend:
    """The backend that the settings name; nothing is connected yet.

    Raises:
        SettingsError: a server's settings cannot be used.
    """
    if settings.backend == "memory":
        from flowcraft_dagster.backends.memory.backend import MemoryBackend

        return MemoryBackend(clock)
    if settings.backend == "kafka":
        from flowcraft_dagster.backends.distributed import KafkaBackend

        return KafkaBackend.from_env(settings.environment, clock)
    from flowcraft_dagster.backends.embedded.backend import EmbeddedBackend

    return EmbeddedBackend(settings.home, clock, synchronous=settings.synchronous)


def find_misspelt(settings: Settings) -> dict[str, str]:
    """Variables of the environment that are no setting but look like one.

    Args:
        settings: read from the environment.

    Returns:
        By the name of each, the setting that was meant.
    """
    from difflib import get_close_matches

    known = {"FLOWCRAFT": [*ENVIRONMENT_ONLY, *(option.name.upper() for option in fields(RuntimeOptions))]}
    if settings.backend == "kafka":
        from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
        from flowcraft_dagster.backends.kafka.settings import KafkaSettings
        from flowcraft_dagster.backends.redis.settings import RedisSettings

        for prefix, model in (("KAFKA", KafkaSettings), ("CASSANDRA", CassandraSettings), ("REDIS", RedisSettings)):
            known[prefix] = [name.upper() for name in model.model_fields]
    found = {}
    for variable in sorted(settings.environment):
        prefix, _, name = variable.partition("_")
        names = known.get(prefix, [])
        # Others have variables that begin alike: only what is close to one of ours is told of.
        if name and name not in names and (near := get_close_matches(name, names, n=1, cutoff=_MISSPELT)):
            found[variable] = f"{prefix}_{near[0]}"
    return found


def find_external_starts(backend: Backend) -> ExternalStarts | None:
    """Where runs that other programs announce are found; None for a backend that has no such place."""
    if backend.name != "kafka":
        return None
    from flowcraft_dagster.backends.distributed import KafkaBackend

    return backend.external_starts if isinstance(backend, KafkaBackend) else None


def adopt_clients(kafka: Any, cassandra_client: Any, redis: Any, **places: str) -> Backend:
    """A backend on the servers of clients that the program has already; nothing is connected yet.

    Args:
        kafka: settings, or a mapping of librdkafka options.
        cassandra_client: a ``Cluster`` or ``Session`` of cassandra-driver.
        redis: a client of redis-py; None where no hints are needed.
        places: ``topic_name``, ``group_id``, ``keyspace``, ``context_table_name``, ``status_table_name``.

    Raises:
        SettingsError: something about a client or a name cannot be used.
    """
    from flowcraft_dagster.backends.adopted import Places
    from flowcraft_dagster.backends.adopted import adopt_clients as adopt

    return adopt(kafka, cassandra_client, redis, Places(**places))
