"""From settings to concrete backends: the only module that imports them."""

from __future__ import annotations

from typing import Any

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.external import ExternalStarts
from flowcraft_dagster.settings import Settings


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
