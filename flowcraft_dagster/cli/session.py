"""Opening what commands work with: settings, backend, client, app."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowcraft_dagster.errors import InfrastructureError, RunNotFound, SettingsError, suggest
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import RunQuery
from flowcraft_dagster.runtime.client import AsyncClient
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

if TYPE_CHECKING:
    from flowcraft_dagster.app import Flowcraft
    from flowcraft_dagster.blueprint.model import Blueprint

_SEARCHED_RUNS = 200
"""The latest ones, when somebody names a run that is not there."""


@contextlib.asynccontextmanager
async def open_backend(settings: Settings | None = None) -> AsyncIterator[Backend]:
    """The backend of the settings, open.

    Raises:
        SettingsError: a setting cannot be used, or the backend ends with this process.
        InfrastructureError, SchemaMismatch: it cannot be opened.
    """
    settings = settings or Settings.from_env()
    if settings.backend == "memory":
        raise SettingsError(
            "runs in memory end with their process, so this command finds none", name="FLOWCRAFT_BACKEND"
        )
    backend = make_backend(settings, SystemClock())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@contextlib.asynccontextmanager
async def open_client(
    settings: Settings | None = None, blueprints: Mapping[str, Blueprint] | None = None
) -> AsyncIterator[AsyncClient]:
    """A client with its backend open; a run that is not found gets the names that are close.

    Raises as :func:`open_backend`.
    """
    settings = settings or Settings.from_env()
    async with open_backend(settings) as backend:
        client = AsyncClient(backend, blueprints or {}, settings.options, SystemClock(), random.SystemRandom())
        try:
            yield client
        except RunNotFound as error:
            raise RunNotFound(run_id=error.run_id, near=await _find_near(client, error.run_id)) from None


async def _find_near(client: AsyncClient, run_id: str) -> str:
    try:
        latest = await client.runs(RunQuery(with_children=True, limit=_SEARCHED_RUNS))
    except InfrastructureError:
        return ""
    return suggest(run_id, [header.run_id for header in latest])


@contextlib.contextmanager
def keep_stdout_clean() -> Iterator[None]:
    """Send what user code prints to standard error: standard output carries the command's own result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def find_app(target: str | None) -> Flowcraft | None:
    """Load ``MODULE:ATTR``; None when there is none. Raises AppLoadError."""
    if not target:
        return None
    from flowcraft_dagster.app import load_app

    with keep_stdout_clean():
        return load_app(target)


def require_app(target: str | None, what: str) -> Flowcraft:
    """As :func:`find_app`, for a command that cannot do without."""
    app = find_app(target)
    if app is None:
        raise click.UsageError(f"{what} needs an app: give --app MODULE:ATTR or set FLOWCRAFT_APP.")
    return app


def add_blueprints(app: Flowcraft, paths: Iterable[Path]) -> None:
    """Add files and folders of blueprints to an app. Raises BlueprintError."""
    for path in paths:
        app.add_blueprint(path)
