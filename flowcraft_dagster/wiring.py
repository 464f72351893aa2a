"""From settings to concrete backends: the only module that imports them."""

from __future__ import annotations

from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
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
