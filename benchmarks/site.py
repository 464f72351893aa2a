"""A place of its own on the servers for one measurement: topics, keyspace, client and worker processes."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flowcraft_dagster import AsyncClient, Flowcraft, Settings
from flowcraft_dagster.testing.environment import make_token, open_separate_backend, separate_environment
from flowcraft_dagster.testing.fleet import WorkerFleet

PARTITIONS = 4
"""As many as the peer's own schema makes."""


@dataclass(frozen=True)
class Site:
    """A client and its workers.

    Attributes:
        client: starts and follows runs.
        fleet: worker processes.
    """

    client: AsyncClient
    fleet: WorkerFleet


@asynccontextmanager
async def open_site(
    app: Flowcraft, target: str, workers: int, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """Workers that are ready, and a client.

    Args:
        app: the app in this process.
        target: ``MODULE:ATTR`` of the same app, which workers load.
        workers: how many processes.
        variables: settings on top of the environment's.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = separate_environment("kafka", Path(folder), make_token())
        environment = {"KAFKA_PARTITIONS": str(PARTITIONS), **own, **(variables or {})}
        settings = Settings.from_env({**os.environ, **environment})
        async with open_separate_backend(settings) as backend:
            client = app.async_client(settings, backend=backend, dice=random.SystemRandom())
            async with WorkerFleet(target, workers, environment, Path(folder)) as fleet:
                yield Site(client, fleet)
