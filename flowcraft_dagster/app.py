"""The app: blueprints, node kinds and what is injected into them, in one object that every process loads."""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flowcraft_dagster.blueprint import Blueprint, Flow, parse_blueprint, read_blueprints
from flowcraft_dagster.engine.expression import compile_expression
from flowcraft_dagster.engine.node import EventListener, Middleware, Node
from flowcraft_dagster.engine.registry import Implementation, NodeRegistry
from flowcraft_dagster.errors import AppLoadError, BlueprintError, FlowcraftError
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.clock import Clock
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.reconciler import Reconciler
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.runtime.worker import Worker
from flowcraft_dagster.runtime.worker_parts import WorkerParts
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import find_external_starts, make_backend

BlueprintSource = Blueprint | Flow | Mapping[str, Any] | str | Path
T = TypeVar("T", bound=Callable[..., Any] | type[Node])


class Flowcraft:
    """Blueprints and node kinds, and the ways to run them.

    Args:
        blueprints: blueprints, builders, JSON objects, files, or folders of files.
        nodes: implementations by kind, or a registry.
        dependencies: handed to every node as ``ctx.dependencies``.
        middleware: wraps node executions, outermost first.
        listeners: are called with every event, in the process where it happens.

    Example:
        >>> app = Flowcraft()
        >>> @app.node("double")
        ... async def double(ctx):
        ...     return ctx.input * 2
        >>> _ = app.add_blueprint({"id": "d", "nodes": [{"id": "a", "uses": "double", "inputs": "n"}], "edges": []})
        >>> app.run("d", {"n": 21}).outputs["a"]
        42
    """

    def __init__(
        self,
        blueprints: Iterable[BlueprintSource] | BlueprintSource = (),
        nodes: NodeRegistry | Mapping[str, Implementation] | None = None,
        *,
        dependencies: Mapping[str, Any] | None = None,
        middleware: Sequence[Middleware] = (),
        listeners: Sequence[EventListener] = (),
    ) -> None:
        if not isinstance(nodes, (Mapping, type(None))):
            kind = type(nodes).__name__
            raise TypeError(f"nodes are implementations by kind, not a {kind}; give several blueprints as a list")
        self.nodes = nodes if isinstance(nodes, NodeRegistry) else NodeRegistry(nodes)
        self.blueprints: dict[str, Blueprint] = {}
        self.dependencies: dict[str, Any] = dict(dependencies or {})
        self.middleware = list(middleware)
        self.listeners = list(listeners)
        self.location: str | None = None
        single = isinstance(blueprints, (Blueprint, Flow, str, Path, Mapping)) or not isinstance(blueprints, Iterable)
        for source in [blueprints] if single else blueprints:  # type: ignore[union-attr]
            self.add_blueprint(source)  # type: ignore[arg-type]

    def node(self, uses: str) -> Callable[[T], T]:
        """Decorator that registers a function or :class:`Node` class under ``uses``."""
        return self.nodes.node(uses)

    def add_blueprint(self, source: BlueprintSource) -> Blueprint | None:
        """Add a blueprint, or all of a folder.

        Returns:
            The blueprint, or None for a folder.

        Raises:
            BlueprintError: it is refused, or its id is taken by another one.
        """
        if isinstance(source, (str, Path)):
            for blueprint in read_blueprints(Path(source), check_expression=check_expression).values():
                self._add(blueprint)
            return None
        if isinstance(source, Flow):
            for uses, implementation in source.nodes.items():
                self.nodes.register(uses, implementation)
            source = source.build()
        if isinstance(source, Mapping):
            source = parse_blueprint(source, check_expression=check_expression)
        if not isinstance(source, Blueprint):
            raise TypeError(f"a {type(source).__name__} is no blueprint, builder, JSON object, file or folder")
        return self._add(source)

    def _add(self, blueprint: Blueprint) -> Blueprint:
        known = self.blueprints.get(blueprint.id)
        if known is not None and known.content_hash != blueprint.content_hash:
            raise BlueprintError("the id is taken by another blueprint", blueprint_id=blueprint.id, field="id")
        self.blueprints[blueprint.id] = blueprint
        return blueprint

    # -- running -------------------------------------------------------------------------------------------------

    def run(
        self,
        blueprint_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        options: RuntimeOptions | None = None,
    ) -> RunResult:
        """Run a blueprint in this process, in memory, until it ends or waits.

        Args:
            blueprint_id: which blueprint.
            context: initial context, JSON.
            timeout: seconds to wait; None for as long as it takes.
            options: limits; the defaults when None.

        Raises:
            UnknownBlueprint, SerializationError: nothing was run.
            NodeNotRegistered: a node kind is missing.
            WaitTimeout: it took longer than ``timeout``.
        """
        from flowcraft_dagster.local import run_interruptibly

        return run_interruptibly(self.run_async(blueprint_id, context, timeout=timeout, options=options))

    async def run_async(
        self,
        blueprint_id: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        options: RuntimeOptions | None = None,
    ) -> RunResult:
        """As :meth:`run`, for callers with an event loop."""
        from flowcraft_dagster.local import LocalRuntime

        async with LocalRuntime(self, options or RuntimeOptions()) as local:
            run_id = await local.client.start(StartRequest(blueprint_id, context or {}))
            await local.wait_for_pause(run_id, timeout)
            return await local.client.result(run_id)

    def client(self, settings: Settings | None = None, *, backend: Backend | None = None) -> Client:
        """A client for sync code; connects with its first call."""
        return Client(self.async_client(settings, backend=backend))

    def async_client(
        self,
        settings: Settings | None = None,
        *,
        backend: Backend | None = None,
        clock: Clock | None = None,
        dice: random.Random | None = None,
    ) -> AsyncClient:
        """A client for async code; the caller opens and closes its backend."""
        settings = settings or Settings.from_env()
        clock = clock or SystemClock()
        return AsyncClient(
            backend or make_backend(settings, clock),
            self.blueprints,
            settings.options,
            clock,
            dice or random.Random(),  # noqa: S311 - ids and jitter, no secrets
        )

    def worker(
        self,
        settings: Settings | None = None,
        *,
        backend: Backend | None = None,
        clock: Clock | None = None,
        dice: random.Random | None = None,
        slot: str | None = None,
    ) -> Worker:
        """A worker; the caller opens its backend, runs it, and closes the backend.

        Suspects run in processes of their own when the app was loaded by :func:`load_app`.
        """
        settings = settings or Settings.from_env()
        clock = clock or SystemClock()
        backend = backend or make_backend(settings, clock)
        return Worker(
            WorkerParts(
                backend=backend,
                registry=self.nodes,
                blueprints=self.blueprints,
                options=settings.options,
                clock=clock,
                dice=dice or random.Random(),  # noqa: S311 - ids and jitter, no secrets
                dependencies=self.dependencies,
                middleware=self.middleware,
                listeners=self.listeners,
                app_target=self.location,
                slot=slot or f"{os.uname().nodename}-{os.getpid()}",
                external_starts=find_external_starts(backend) if settings.options.accept_external_starts else None,
            )
        )

    def reconciler(
        self,
        settings: Settings | None = None,
        *,
        backend: Backend | None = None,
        stalled_after: float = 300.0,
        clock: Clock | None = None,
    ) -> Reconciler:
        """A reconciler; the caller opens and closes its backend."""
        settings = settings or Settings.from_env()
        clock = clock or SystemClock()
        return Reconciler(backend or make_backend(settings, clock), clock, stalled_after=stalled_after)


def check_expression(text: str) -> None:
    """Refuse an expression that cannot be parsed. Raises ExpressionError."""
    compile_expression(text)


def load_app(target: str) -> Flowcraft:
    """Import ``MODULE:ATTR``.

    Raises:
        AppLoadError: it does not lead to an app; says where it ends.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise AppLoadError("is not MODULE:ATTR", target=target)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module_name)
    except FlowcraftError:
        raise
    except SystemExit as end:
        raise AppLoadError(f"importing {module_name} ends the program (exit code {end.code})", target=target) from end
    except Exception as error:
        raise AppLoadError(f"cannot import {module_name}: {type(error).__name__}: {error}", target=target) from error
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise AppLoadError(f"module {module_name} has no '{attribute}'", target=target) from None
    if not isinstance(value, Flowcraft):
        raise AppLoadError(f"'{attribute}' is a {type(value).__name__}, not a Flowcraft app", target=target)
    value.location = target
    return value
