"""``reconcile`` and ``init``."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from typing import Any

import click

from flowcraft_dagster.cli.failures import DONE, FAILED, describe_error, report
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import Days, Seconds, json_option
from flowcraft_dagster.cli.session import open_backend
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.errors import InfrastructureError, SettingsError
from flowcraft_dagster.runtime.reconciler import Reconciler, ReconciliationStats
from flowcraft_dagster.runtime.retention import ForgettingPass, forget_finished_runs
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend

_SHOWN_FAILURES = 20


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster reconcile",
        "flowcraft-dagster reconcile --stalled-after 60 --json | jq .reconciled",
        "flowcraft-dagster reconcile --every 5m",
        "flowcraft-dagster reconcile --all     # after the topic was lost",
    ],
)
@click.option(
    "--stalled-after",
    type=Seconds(),
    default="300",
    show_default=True,
    help="A running run counts as stalled when it was not touched for so long.",
)
@click.option("--all", "everything", is_flag=True, help="Wake every live run: rebuilds the queue after it was lost.")
@click.option("--every", type=Seconds(above_zero=True), help="Repeat after so long, until stopped.")
@json_option
def reconcile(stalled_after: float, everything: bool, every: float | None, as_json: bool) -> int:
    """Find runs that stand still and wake them; safe beside workers and other reconcilers.

    It executes nothing and changes no run: it sends wakes, and the workers decide. Exit code 1 when a run could not be
    woken. With --every, --json writes a line for each pass.
    """
    if every is not None and everything:
        raise click.UsageError("--all is for once; it does not go with --every.", click.get_current_context())
    if every is None:
        stats = asyncio.run(_reconcile_once(stalled_after, everything))
        _show(stats, as_json, lines=False)
        return FAILED if stats.failed_runs else DONE
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_reconcile_for_ever(stalled_after, every, as_json))
    return DONE


async def _reconcile_once(stalled_after: float, everything: bool) -> ReconciliationStats:
    async with open_backend() as backend:
        reconciler = Reconciler(backend, SystemClock(), stalled_after=stalled_after)
        return await reconciler.run(everything=everything)


async def _reconcile_for_ever(stalled_after: float, every: float, as_json: bool) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    dice = random.SystemRandom()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            try:
                async with open_backend() as backend:
                    reconciler = Reconciler(backend, SystemClock(), stalled_after=stalled_after)
                    while True:
                        _show(await reconciler.run(), as_json, lines=True)
                        # Several reconcilers that were started together shall not stay together.
                        await asyncio.sleep(every * dice.uniform(0.9, 1.1))
            except InfrastructureError as error:
                report(f"error: {describe_error(error)}")
                await asyncio.sleep(min(every, 10.0))


def _show(stats: ReconciliationStats, as_json: bool, *, lines: bool) -> None:
    if as_json:
        show_json(stats_to_json(stats), lines=lines)
        return
    click.echo(
        f"{stats.scanned_runs} live runs: {stats.stalled_runs} stalled, {stats.reconciled_runs} reconciled, "
        f"{stats.failed_runs} failed, {stats.waiting_runs} waiting in the queue"
    )
    for run_id in stats.failed_ids[:_SHOWN_FAILURES]:
        report(f"run {run_id}: {stats.errors[run_id]}")


def stats_to_json(stats: ReconciliationStats) -> dict[str, Any]:
    """A pass in JSON."""
    return {
        "scanned": stats.scanned_runs,
        "stalled": stats.stalled_runs,
        "reconciled": stats.reconciled_runs,
        "failed": stats.failed_runs,
        "waiting": stats.waiting_runs,
        "stalledRuns": stats.stalled_ids,
        "reconciledRuns": stats.reconciled_ids,
        "failedRuns": stats.failed_ids,
        "errors": stats.errors,
    }


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster forget --older-than-days 30",
    ],
)
@click.option(
    "--older-than-days", "seconds", type=Days(), required=True, help="Only runs that ended longer ago than this."
)
@json_option
def forget(seconds: float, as_json: bool) -> int:
    """Delete finished runs that ended long ago, with everything stored of them.

    Live runs are never touched, and what they may still ask for stays: their sub-flows and what they go on from. With
    FLOWCRAFT_RETENTION_DAYS, workers do this by themselves.
    """
    forgetting = asyncio.run(_forget(seconds))
    if as_json:
        show_json({"deleted": forgetting.deleted, "kept": forgetting.kept})
    else:
        kept = f"; kept {forgetting.kept} that live runs may ask for" if forgetting.kept else ""
        click.echo(f"deleted {forgetting.deleted} finished runs{kept}")
    return DONE


async def _forget(seconds: float) -> ForgettingPass:
    async with open_backend() as backend:
        return await forget_finished_runs(backend, SystemClock().now() - seconds)


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster init",
        "FLOWCRAFT_BACKEND=kafka flowcraft-dagster init --json",
    ],
)
@json_option
def init(as_json: bool) -> int:
    """Make the folders, tables and topics that the backend needs, as far as they are missing.

    Twice is no harm, and a foreign layout is refused untouched. The embedded backend does this by itself.
    """
    settings = Settings.from_env()
    if settings.backend == "memory":
        raise SettingsError("memory needs no preparation", name="FLOWCRAFT_BACKEND")
    made = asyncio.run(_create(settings))
    if as_json:
        show_json({"backend": settings.backend, "made": made})
    elif made:
        for name in made:
            click.echo(f"made {name}")
    else:
        click.echo("everything is there already")
    return DONE


async def _create(settings: Settings) -> list[str]:
    backend = make_backend(settings, SystemClock())
    try:
        return await backend.create_schema()
    finally:
        await backend.close()
