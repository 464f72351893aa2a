"""``doctor``: is everything there that runs need?"""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import click

from flowcraft_dagster.cli.failures import DONE, FAILED, describe_error
from flowcraft_dagster.cli.output import show_fields, show_json, show_seconds, show_table
from flowcraft_dagster.cli.parameters import json_option
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.errors import FlowcraftError, one_line
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import WorkerRecord
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.version import __version__
from flowcraft_dagster.wiring import find_misspelt, make_backend

PACKAGES = ("dagster", "confluent-kafka", "cassandra-driver", "redis", "orjson", "lark", "click", "rich", "pydantic")
_COUNTED_LETTERS = 1000
_MISSED_HEARTBEATS = 3
_CLOCK_TOLERANCE = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether work can go on.
        detail: figures, or what is wrong and what to do; one line without secrets.
        warning: what may go wrong later; None when there is nothing to warn of.
    """

    name: str
    ok: bool
    detail: str
    warning: str | None = None

    @property
    def verdict(self) -> str:
        """In one word."""
        return "FAILED" if not self.ok else "WARNING" if self.warning else "ok"


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster doctor",
        "flowcraft-dagster doctor --json | jq '.checks[] | select(.ok | not)'",
    ],
)
@json_option
def doctor(as_json: bool) -> int:
    """Check settings, servers, workers, queue, dead letters and clock. Exit code 1 when something is not well.

    A WARNING is about what may go wrong later, such as a keyspace with a single copy; it leaves the exit code at 0.
    """
    settings = Settings.from_env()
    checks, workers = asyncio.run(examine(settings))
    is_well = all(check.ok for check in checks)
    versions = find_versions()
    if as_json:
        show_json(
            {
                "ok": is_well,
                "settings": settings.describe(),
                "checks": [asdict(check) for check in checks],
                "workers": [worker_to_json(worker) for worker in workers],
                "versions": versions,
            }
        )
        return DONE if is_well else FAILED
    described = settings.describe()
    options = described.pop("options")
    show_fields([(name, str(value)) for name, value in described.items()])
    show_fields([("options", ", ".join(f"{name}={value}" for name, value in options.items()))])
    click.echo()
    show_table(
        ["CHECK", "", "DETAIL"],
        [[check.name, check.verdict, check.warning or check.detail] for check in checks],
    )
    click.echo()
    click.echo(", ".join(f"{name} {version}" for name, version in versions.items()))
    return DONE if is_well else FAILED


def find_versions() -> dict[str, str]:
    """Versions of Python, of this package and of those it stands on; nothing is imported."""
    versions = {"flowcraft-dagster": __version__, "python": platform.python_version(), "platform": sys.platform}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def worker_to_json(worker: WorkerRecord) -> dict[str, Any]:
    """A worker in JSON."""
    return {
        "workerId": worker.worker_id,
        "slot": worker.slot,
        "pid": worker.pid,
        "host": worker.host,
        "state": worker.state,
        "startedAt": worker.started_at,
        "seenAt": worker.seen_at,
        "health": dict(worker.health),
    }


async def examine(settings: Settings) -> tuple[list[Check], list[WorkerRecord]]:
    """Look at everything; what cannot be looked at is a check that failed."""
    checks: list[Check] = []
    workers: list[WorkerRecord] = []
    try:
        backend = make_backend(settings, SystemClock())
    except FlowcraftError as error:
        return [Check("settings", False, describe_error(error))], workers
    is_open = True
    try:
        await backend.open()
    except FlowcraftError as error:
        is_open = False
        checks.append(Check(backend.name, False, describe_error(error)))
    reports = await backend.check_health()
    checks.extend(Check(report.name, report.ok, report.detail, report.warning) for report in reports)
    if is_open:
        async for check in _examine_work(backend, settings, workers):
            checks.append(check)
    await backend.close()
    checks.append(check_names(settings))
    return checks, workers


def check_names(settings: Settings) -> Check:
    """Whether a variable of the environment looks like a setting and is none: it would be ignored."""
    misspelt = find_misspelt(settings)
    told = ", ".join(f"{name} is ignored: did you mean {meant}?" for name, meant in misspelt.items())
    return Check("settings", True, "every name is known", one_line(told) or None)


async def _examine_work(backend: Backend, settings: Settings, workers: list[WorkerRecord]) -> AsyncIterator[Check]:
    now = time.time()
    silence = _MISSED_HEARTBEATS * settings.options.heartbeat_seconds

    async def count_alive() -> tuple[bool, str]:
        workers.extend(await backend.workers.list_workers(now - silence))
        alive = [worker for worker in workers if worker.state == "alive"]
        slots = ", ".join(sorted(worker.slot for worker in alive))
        # No worker is no fault by itself: nothing may be due. Work that waits for nobody is, see the queue.
        return (
            True,
            f"{len(alive)} alive ({slots})" if alive else "none alive; start one with 'flowcraft-dagster worker'",
        )

    async def measure_queue() -> tuple[bool, str]:
        lag = await backend.jobs.measure_lag()
        is_served = any(worker.state == "alive" for worker in workers)
        if lag and not is_served:
            return False, f"{lag} messages wait and no worker is alive; start one with 'flowcraft-dagster worker'"
        return True, f"{lag} messages wait"

    async def count_letters() -> tuple[bool, str]:
        count = len(await backend.dead_letters.list_letters(_COUNTED_LETTERS))
        if count:
            more = "or more " if count == _COUNTED_LETTERS else ""
            return False, f"{count} {more}messages; look at them with 'flowcraft-dagster dead-letters list'"
        return True, "none"

    async def compare_clocks() -> tuple[bool, str]:
        ahead = max((worker.seen_at - now for worker in workers), default=0.0)
        if ahead > _CLOCK_TOLERANCE:
            return False, f"a worker's clock is {show_seconds(ahead)} ahead of this one; synchronise the clocks"
        return True, "agrees with the workers'" if workers else "no worker to compare with"

    async def ask_coordination() -> tuple[bool, str]:
        trouble = await backend.coordination.check_health()
        return trouble is None, trouble or "answers"

    for name, look in (
        ("coordination", ask_coordination),
        ("workers", count_alive),
        ("queue", measure_queue),
        ("dead letters", count_letters),
        ("clock", compare_clocks),
    ):
        yield await _check(name, look)


async def _check(name: str, look: Callable[[], Any]) -> Check:
    try:
        ok, detail = await look()
    except FlowcraftError as error:
        return Check(name, False, describe_error(error))
    return Check(name, ok, detail)
