"""What a worker is made of."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.engine.node import EventListener, Middleware
from flowcraft_dagster.engine.registry import NodeRegistry
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.ports.external import ExternalStarts
from flowcraft_dagster.runtime.options import RuntimeOptions


@dataclass(frozen=True)
class WorkerParts:
    """What a worker is made of.

    Attributes:
        backend: opened ports.
        registry: node implementations.
        blueprints: known here, by id.
        options: limits and intervals.
        clock: time.
        dice: randomness.
        dependencies: injected into nodes.
        middleware: outermost first.
        listeners: take events.
        app_target: ``MODULE:ATTR`` of the app, by which suspects run in processes of their own; None where that is
            impossible.
        slot: stable name of the place this worker fills; a restarted worker keeps it.
        external_starts: where runs that other programs announce are found; None accepts none.
    """

    backend: Backend
    registry: NodeRegistry
    blueprints: Mapping[str, Blueprint]
    options: RuntimeOptions
    clock: Clock
    dice: random.Random
    # Clients and their keys: never in a log or a traceback.
    dependencies: Mapping[str, Any] = field(repr=False)
    middleware: Sequence[Middleware]
    listeners: Sequence[EventListener]
    app_target: str | None = None
    slot: str = "0"
    external_starts: ExternalStarts | None = None
