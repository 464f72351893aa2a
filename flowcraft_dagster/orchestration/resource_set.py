"""All resources of a code location, by the keys under which its ops, sensors and assets ask for them."""

from __future__ import annotations

from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.orchestration.connection import register_app
from flowcraft_dagster.orchestration.labels import CLIENT_KEY, COORDINATION_KEY, QUEUE_KEY, STORE_KEY, WORKER_KEY
from flowcraft_dagster.orchestration.port_resources import (
    FlowcraftCoordinationResource,
    FlowcraftQueueResource,
    FlowcraftStoreResource,
)
from flowcraft_dagster.orchestration.resources import (
    EnvironmentBackendResource,
    FlowcraftBackendResource,
    FlowcraftClientResource,
)
from flowcraft_dagster.orchestration.worker_resource import FlowcraftWorkerResource


def build_flowcraft_resources(app: Flowcraft | str, backend: FlowcraftBackendResource | None = None) -> dict[str, Any]:
    """The resources for an app; the same ones for every backend. Connects to nothing.

    Args:
        app: the app, or where it is: ``MODULE:ATTR``.
        backend: where runs are kept; what the environment says when None.

    Example:
        >>> dg.Definitions(jobs=[my_job], resources=build_flowcraft_resources("shop.flows:app"))  # doctest: +SKIP
    """
    target = app if isinstance(app, str) else register_app(app)
    chosen = backend or EnvironmentBackendResource()
    client = FlowcraftClientResource(app=target, backend=chosen)
    return {
        CLIENT_KEY: client,
        WORKER_KEY: FlowcraftWorkerResource(flowcraft=client),
        QUEUE_KEY: FlowcraftQueueResource(backend=chosen),
        STORE_KEY: FlowcraftStoreResource(backend=chosen),
        COORDINATION_KEY: FlowcraftCoordinationResource(backend=chosen),
    }
