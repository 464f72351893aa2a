"""Names of its own for one test or measurement, so that it meets nobody else's runs."""

from __future__ import annotations

import uuid
from pathlib import Path


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
