"""Names of its own for one test or measurement, so that it meets nobody else's runs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

logger = logging.getLogger(__name__)


def make_token() -> str:
    """A short random name, fit for topics and keyspaces."""
    return uuid.uuid4().hex[:10]


def separate_environment(backend: str, folder: Path, token: str) -> dict[str, str]:
    """Variables that give a backend its own folder, or its own topics, group, keyspace and key prefix.

    Args:
        backend: ``embedded`` or ``kafka``.
        folder: data of the embedded backend go here.
        token: from :func:`make_token`.
    """
    if backend == "embedded":
        return {"FLOWCRAFT_BACKEND": backend, "FLOWCRAFT_HOME": str(folder / "data")}
    name = f"flowcraft-{token}"
    return {
        "FLOWCRAFT_BACKEND": backend,
        "KAFKA_JOBS_TOPIC": f"{name}-jobs",
        "KAFKA_LETTERS_TOPIC": f"{name}-jobs.dlq",
        "KAFKA_REQUESTS_TOPIC": f"{name}-requests",
        "KAFKA_GROUP_ID": f"{name}-workers",
        "CASSANDRA_KEYSPACE": f"flowcraft_{token}",
        "REDIS_PREFIX": name,
    }


@asynccontextmanager
async def open_separate_backend(settings: Settings) -> AsyncIterator[Backend]:
    """An open backend with its tables and topics, which are removed again at the end.

    Args:
        settings: with names of its own, from :func:`separate_environment`: everything under them is lost.
    """
    backend = make_backend(settings, SystemClock())
    try:
        await backend.create_schema()
        await backend.open()
        yield backend
    finally:
        try:
            await backend.delete_schema()
        except InfrastructureError as error:
            # Whatever ended this matters more than what is left behind.
            logger.warning("tables or topics are left behind: %s", error)
        finally:
            await backend.close()
