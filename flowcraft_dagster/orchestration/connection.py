"""One live client per process and configuration.

Dagster builds resources anew for every run and every sensor tick, so a resource is configuration only; the connection
behind it is kept here and shared. Nothing connects before it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flowcraft_dagster.app import Flowcraft, load_app
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.settings import Settings

T = TypeVar("T")

SETTING_PREFIXES: Final = ("FLOWCRAFT_", "KAFKA_", "CASSANDRA_", "REDIS_", "DAGSTER_HOME")
"""Variables that settings are read from; only a change of these makes another connection."""

EMBEDDED_LAG_SECONDS: Final = 1.0
SERVER_LAG_SECONDS: Final = 10.0
"""Workers on several machines have clocks of their own, and write the list after the run."""

_apps: dict[str, Flowcraft] = {}
# By process, app and settings. The app itself and not its name: one app may be known under several names, and a second
# client for it would be a second connection. A connection holds its app, so that no other one takes its id.
_live: dict[tuple[int, int, str], Connection] = {}
_lock = threading.RLock()


@dataclass(frozen=True)
class Connection:
    """An app and a client that is connected to its backend.

    Attributes:
        app: blueprints and node kinds.
        settings: what the backend was made from.
        client: shared by everything in this process; never close it.
    """

    app: Flowcraft
    settings: Settings
    client: Client

    @property
    def backend(self) -> Backend:
        """The open ports; use them only through :meth:`call`."""
        return self.client.asynchronous.backend

    def choose_lag(self, wanted: float | None) -> float:
        """Seconds by which a reader of finished runs stays behind the present, so that no late row is missed."""
        if wanted is not None:
            return wanted
        return EMBEDDED_LAG_SECONDS if self.backend.name == "embedded" else SERVER_LAG_SECONDS

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over the backend, in the client's event loop."""
        return self.client.call(work)


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


def _name_by_content(app: Flowcraft) -> str:
    content = "\n".join(f"{key} {blueprint.content_hash}" for key, blueprint in sorted(app.blueprints.items()))
    return f"object:{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def find_app(target: str) -> Flowcraft:
    """The app of that name: one that was registered here, or ``MODULE:ATTR``.

    Raises:
        AppLoadError: there is none; says where it ends.
    """
    with _lock:
        known = _apps.get(target)
    return load_app(target) if known is None else known


def connect(target: str, variables: Mapping[str, str]) -> Connection:
    """The connection for an app and settings, made with the first call and opened again where it was lost.

    Args:
        target: name of the app.
        variables: settings by the names of their environment variables; they go before the process's own.

    Raises:
        AppLoadError, SettingsError: the configuration cannot be used.
        InfrastructureError: the store or queue is away; a later call tries again.
    """
    app = find_app(target)
    environment = {**os.environ, **variables}
    content = "\n".join(f"{k}={v}" for k, v in sorted(environment.items()) if k.startswith(SETTING_PREFIXES))
    # A forked child has no thread of its parent's client, so it makes one of its own.
    key = (os.getpid(), id(app), hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest())
    with _lock:
        connection = _live.get(key)
        if connection is None:
            settings = Settings.from_env(environment)
            connection = _live[key] = Connection(app, settings, app.client(settings))
        connection.call(_open())
        return connection


def count_connections() -> int:
    """How many connections this process holds."""
    with _lock:
        return sum(key[0] == os.getpid() for key in _live)


def close_connections() -> None:
    """Let go of everything; the next call of :func:`connect` starts anew."""
    with _lock:
        mine = [key for key in _live if key[0] == os.getpid()]
        for key in mine:
            _live.pop(key).client.close()


async def _open() -> None:
    """Nothing: calling it opens the backend."""
