"""One open backend per process and settings, and one client per app on it.

Dagster builds resources anew for every run and every sensor tick, so a resource is configuration only; the connection
behind it is kept here and shared. Nothing connects before it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flowcraft_dagster.app import Flowcraft, load_app
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.backend_portal import BackendPortal
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

T = TypeVar("T")

ANSWER_SECONDS: Final = 2.5
"""How long a sensor's tick waits for an answer: Dagster evaluates sensors one after the other."""

SETTING_PREFIXES: Final = ("FLOWCRAFT_", "KAFKA_", "CASSANDRA_", "REDIS_", "DAGSTER_HOME")
"""Variables that settings are read from; only a change of these makes another connection."""


@dataclass(frozen=True)
class BackendConnection:
    """A backend that everything in this process shares; never close it.

    Attributes:
        settings: what the backend was made from.
        portal: runs coroutines over it.
    """

    settings: Settings
    portal: BackendPortal

    @property
    def backend(self) -> Backend:
        """The open ports; use them only through :meth:`call`."""
        return self.portal.backend

    def choose_lag(self, wanted: float | None) -> float:
        """Seconds by which a reader of finished runs stays behind the present, so that no late row is missed."""
        return self.backend.index.late_seconds if wanted is None else wanted

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over the backend, in its event loop."""
        return self.portal.call(work)

    def ask(self, name: str, question: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same for a sensor's tick: waits a moment only. What takes longer goes on for the tick that asks next.

        Args:
            name: of the sensor and what it asks; part of the error.
            question: everything the answer depends on.
            make: makes a coroutine that only reads.

        Raises:
            InfrastructureError: no answer yet.
        """
        return self.portal.call_within(ANSWER_SECONDS, name, question, make)


@dataclass(frozen=True)
class Connection(BackendConnection):
    """A backend, and an app's client on it; never close either.

    Attributes:
        app: blueprints and node kinds.
        client: starts and follows runs.
    """

    app: Flowcraft
    client: Client


_apps: dict[str, Flowcraft] = {}
_backends: dict[tuple[int, str], BackendConnection] = {}
# By the app itself and not its name: one app may be known under several. A connection holds its app, so that no other
# one takes its id.
_connections: dict[tuple[int, int, str], Connection] = {}
_lock = threading.Lock()


def register_app(app: Flowcraft) -> str:
    """Make an app that was built in code known in this process.

    Returns:
        The name to give to a resource. It is the same in every process that loads the same definitions.
    """
    name = app.location or _name_by_content(app)
    with _lock:
        number = 1
        # Apps with the same blueprints may have different nodes.
        while app.location is None and _apps.get(name, app) is not app:
            number += 1
            name = f"{_name_by_content(app)}-{number}"
        _apps[name] = app
    return name


def find_app(target: str) -> Flowcraft:
    """The app of that name: one that was registered here, or ``MODULE:ATTR``.

    Raises:
        AppLoadError: there is none; says where it ends.
    """
    with _lock:
        known = _apps.get(target)
    return load_app(target) if known is None else known


def connect_backend(variables: Mapping[str, str], seconds: float | None = None) -> BackendConnection:
    """The backend for settings, made with the first call and opened again where it was lost.

    Args:
        variables: settings by the names of their environment variables; they go before the process's own.
        seconds: how long to wait for it; None for as long as it takes.

    Raises:
        SettingsError: the configuration cannot be used.
        InfrastructureError: the store or queue is away; a later call tries again.
    """
    connection, _ = _find_backend(variables)
    connection.portal.open(seconds)
    return connection


def find_backend(variables: Mapping[str, str]) -> BackendConnection:
    """The same, without opening it: for looking at servers that may be away. Raises SettingsError."""
    return _find_backend(variables)[0]


def connect(target: str, variables: Mapping[str, str], seconds: float | None = None) -> Connection:
    """The connection for an app and settings, made with the first call and opened again where it was lost.

    Args:
        target: name of the app.
        variables: settings by the names of their environment variables; they go before the process's own.
        seconds: how long to wait for the backend; None for as long as it takes.

    Raises:
        AppLoadError, SettingsError: the configuration cannot be used.
        InfrastructureError: the store or queue is away; a later call tries again.
    """
    app = find_app(target)
    shared, digest = _find_backend(variables)
    key = (os.getpid(), id(app), digest)
    with _lock:
        connection = _connections.get(key)
        if connection is None:
            client = Client(app.async_client(shared.settings, backend=shared.backend), shared.portal)
            connection = _connections[key] = Connection(shared.settings, shared.portal, app, client)
    # Outside the lock: a server that is away must not hold up what needs another one.
    connection.portal.open(seconds)
    return connection


def count_connections() -> int:
    """How many backends this process holds."""
    with _lock:
        return sum(key[0] == os.getpid() for key in _backends)


def close_connections() -> None:
    """Let go of everything; the next call of :func:`connect` starts anew."""
    with _lock:
        mine = [_backends.pop(key) for key in list(_backends) if key[0] == os.getpid()]
        for key in list(_connections):
            if key[0] == os.getpid():
                del _connections[key]
    for connection in mine:
        connection.portal.close()


def _find_backend(variables: Mapping[str, str]) -> tuple[BackendConnection, str]:
    environment = {**os.environ, **variables}
    content = "\n".join(f"{k}={v}" for k, v in sorted(environment.items()) if k.startswith(SETTING_PREFIXES))
    digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
    # A forked child has no thread of its parent's portal, so it makes one of its own.
    key = (os.getpid(), digest)
    with _lock:
        connection = _backends.get(key)
        if connection is None:
            settings = Settings.from_env(environment)
            portal = BackendPortal(make_backend(settings, SystemClock()))
            connection = _backends[key] = BackendConnection(settings, portal)
        return connection, digest


def _name_by_content(app: Flowcraft) -> str:
    content = "\n".join(f"{key} {blueprint.content_hash}" for key, blueprint in sorted(app.blueprints.items()))
    return f"object:{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
