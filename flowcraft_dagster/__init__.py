"""A durable, distributed workflow runtime for Python, with Dagster as its control panel.

The public names, loaded when they are first used: importing this package costs next to nothing, and Dagster, which
takes seconds to import, is only imported by the names that need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowcraft_dagster.version import __version__

if TYPE_CHECKING:
    from flowcraft_dagster.app import Flowcraft, load_app
    from flowcraft_dagster.blueprint import (
        Blueprint,
        EdgeSpec,
        Flow,
        LintIssue,
        LintReport,
        NodeConfig,
        NodeSpec,
        analyze_blueprint,
        draw_mermaid,
        lint_blueprint,
        parse_blueprint,
        read_blueprint,
        read_blueprints,
    )
    from flowcraft_dagster.engine.node import Middleware, Node, NodeContext, NodeResult
    from flowcraft_dagster.engine.registry import NodeRegistry
    from flowcraft_dagster.errors import (
        BlueprintError,
        FatalNodeError,
        FlowcraftError,
        InfrastructureError,
        NodeError,
        RunConflict,
        RunError,
        RunFinished,
        RunNotFound,
        UnknownBlueprint,
        WaitTimeout,
    )
    from flowcraft_dagster.kafka_adapter import (
        CassandraContext,
        Kafka,
        KafkaAdapter,
        RedisCoordinationStore,
        WorkflowOutcome,
        create_kafka_reconciler,
        wait_for_workflow,
    )
    from flowcraft_dagster.orchestration.asset_decorator import flowcraft_assets
    from flowcraft_dagster.orchestration.completion import build_flowcraft_completion_sensor
    from flowcraft_dagster.orchestration.component import FlowcraftComponent
    from flowcraft_dagster.orchestration.definitions import FlowcraftAutomation, build_flowcraft_definitions
    from flowcraft_dagster.orchestration.judgement import CheckLimits
    from flowcraft_dagster.orchestration.port_resources import (
        FlowcraftCoordinationResource,
        FlowcraftQueueResource,
        FlowcraftStoreResource,
    )
    from flowcraft_dagster.orchestration.presenter import Presenter
    from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
    from flowcraft_dagster.orchestration.resources import (
        EmbeddedStoreResource,
        EnvironmentBackendResource,
        FlowcraftBackendResource,
        FlowcraftClientResource,
    )
    from flowcraft_dagster.orchestration.server_resources import (
        CassandraStoreResource,
        KafkaBackendResource,
        KafkaJobQueueResource,
        RedisCoordinationResource,
    )
    from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions, build_flowcraft_status_sensor
    from flowcraft_dagster.orchestration.translator import (
        FlowcraftBlueprintProps,
        FlowcraftDagsterTranslator,
        FlowcraftNodeProps,
        FlowcraftProps,
    )
    from flowcraft_dagster.orchestration.worker_resource import FlowcraftWorkerResource
    from flowcraft_dagster.ports.records import RunHeader, RunQuery
    from flowcraft_dagster.runtime.blocking_client import Client
    from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
    from flowcraft_dagster.runtime.options import RuntimeOptions
    from flowcraft_dagster.runtime.reconciler import ReconciliationStats
    from flowcraft_dagster.runtime.result import OpenWait, RunResult
    from flowcraft_dagster.settings import Settings

_MODULES = {
    "app": ("Flowcraft", "load_app"),
    "blueprint": (
        "Blueprint",
        "EdgeSpec",
        "Flow",
        "LintIssue",
        "LintReport",
        "NodeConfig",
        "NodeSpec",
        "analyze_blueprint",
        "draw_mermaid",
        "lint_blueprint",
        "parse_blueprint",
        "read_blueprint",
        "read_blueprints",
    ),
    "engine.node": ("Middleware", "Node", "NodeContext", "NodeResult"),
    "engine.registry": ("NodeRegistry",),
    "errors": (
        "BlueprintError",
        "FatalNodeError",
        "FlowcraftError",
        "InfrastructureError",
        "NodeError",
        "RunConflict",
        "RunError",
        "RunFinished",
        "RunNotFound",
        "UnknownBlueprint",
        "WaitTimeout",
    ),
    "kafka_adapter": (
        "CassandraContext",
        "Kafka",
        "KafkaAdapter",
        "RedisCoordinationStore",
        "WorkflowOutcome",
        "create_kafka_reconciler",
        "wait_for_workflow",
    ),
    "ports.records": ("RunHeader", "RunQuery"),
    "runtime.blocking_client": ("Client",),
    "runtime.client": ("AsyncClient", "StartRequest"),
    "runtime.options": ("RuntimeOptions",),
    "runtime.reconciler": ("ReconciliationStats",),
    "runtime.result": ("OpenWait", "RunResult"),
    "settings": ("Settings",),
    # From here on Dagster is imported.
    "orchestration.asset_decorator": ("flowcraft_assets",),
    "orchestration.completion": ("build_flowcraft_completion_sensor",),
    "orchestration.component": ("FlowcraftComponent",),
    "orchestration.definitions": ("FlowcraftAutomation", "build_flowcraft_definitions"),
    "orchestration.judgement": ("CheckLimits",),
    "orchestration.port_resources": (
        "FlowcraftCoordinationResource",
        "FlowcraftQueueResource",
        "FlowcraftStoreResource",
    ),
    "orchestration.presenter": ("Presenter",),
    "orchestration.resource_set": ("build_flowcraft_resources",),
    "orchestration.resources": (
        "EmbeddedStoreResource",
        "EnvironmentBackendResource",
        "FlowcraftBackendResource",
        "FlowcraftClientResource",
    ),
    "orchestration.server_resources": (
        "CassandraStoreResource",
        "KafkaBackendResource",
        "KafkaJobQueueResource",
        "RedisCoordinationResource",
    ),
    "orchestration.status_sensor": ("StatusSensorOptions", "build_flowcraft_status_sensor"),
    "orchestration.translator": (
        "FlowcraftBlueprintProps",
        "FlowcraftDagsterTranslator",
        "FlowcraftNodeProps",
        "FlowcraftProps",
    ),
    "orchestration.worker_resource": ("FlowcraftWorkerResource",),
}
_PLACES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}

__all__ = [
    "__version__",
    "Flowcraft",
    "load_app",
    "Blueprint",
    "EdgeSpec",
    "Flow",
    "LintIssue",
    "LintReport",
    "NodeConfig",
    "NodeSpec",
    "analyze_blueprint",
    "draw_mermaid",
    "lint_blueprint",
    "parse_blueprint",
    "read_blueprint",
    "read_blueprints",
    "Middleware",
    "Node",
    "NodeContext",
    "NodeResult",
    "NodeRegistry",
    "BlueprintError",
    "FatalNodeError",
    "FlowcraftError",
    "InfrastructureError",
    "NodeError",
    "RunConflict",
    "RunError",
    "RunFinished",
    "RunNotFound",
    "UnknownBlueprint",
    "WaitTimeout",
    "RunHeader",
    "RunQuery",
    "Client",
    "AsyncClient",
    "StartRequest",
    "RuntimeOptions",
    "OpenWait",
    "RunResult",
    "Settings",
    "Kafka",
    "KafkaAdapter",
    "RedisCoordinationStore",
    "CassandraContext",
    "ReconciliationStats",
    "create_kafka_reconciler",
    "WorkflowOutcome",
    "wait_for_workflow",
    "flowcraft_assets",
    "build_flowcraft_completion_sensor",
    "FlowcraftComponent",
    "FlowcraftAutomation",
    "build_flowcraft_definitions",
    "build_flowcraft_resources",
    "Presenter",
    "CheckLimits",
    "StatusSensorOptions",
    "build_flowcraft_status_sensor",
    "EmbeddedStoreResource",
    "EnvironmentBackendResource",
    "FlowcraftBackendResource",
    "FlowcraftClientResource",
    "FlowcraftWorkerResource",
    "FlowcraftQueueResource",
    "FlowcraftStoreResource",
    "FlowcraftCoordinationResource",
    "CassandraStoreResource",
    "KafkaBackendResource",
    "KafkaJobQueueResource",
    "RedisCoordinationResource",
    "FlowcraftBlueprintProps",
    "FlowcraftDagsterTranslator",
    "FlowcraftNodeProps",
    "FlowcraftProps",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
