"""``worker``: the command."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

import click

from flowcraft_dagster.cli.parameters import Identifier, Seconds, app_option
from flowcraft_dagster.cli.session import require_app
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.cli.worker_log import start_logging
from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.settings import Settings


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster worker --app shop.flows:app",
        "flowcraft-dagster worker --app shop.flows:app --concurrency 20 --slot shop-1 --health-port 9100",
        "FLOWCRAFT_APP=shop.flows:app flowcraft-dagster worker",
        "flowcraft-dagster worker --app shop.flows:app --max-seconds 5m --until-idle 2",
    ],
)
@app_option
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Nodes that run at a time.  [default: 100]")
@click.option(
    "--slot",
    metavar="NAME",
    type=Identifier(),
    help="Stable name of this worker's place; a restarted worker keeps it.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    help="Serve /healthz, /readyz and /metrics on 127.0.0.1; 0 takes a free port. Off without it.",
)
@click.option("--max-jobs", type=click.IntRange(1), help="End after so many messages, when what they began has ended.")
@click.option("--max-seconds", type=Seconds(above_zero=True), help="End after so long.")
@click.option("--until-idle", type=Seconds(), help="End when there was nothing to do for so long.")
@click.option("--end-with-stdin", is_flag=True, hidden=True, help="Drain when standard input closes.")
def worker(
    target: str | None,
    concurrency: int | None,
    slot: str | None,
    health_port: int | None,
    max_jobs: int | None,
    max_seconds: float | None,
    until_idle: float | None,
    end_with_stdin: bool,
) -> int:
    """Execute runs with the node kinds of the app, until stopped, or within bounds.

    One line on standard output says when it is ready; the log goes to standard error, from FLOWCRAFT_LOG_LEVEL (default
    INFO) on. SIGTERM or Ctrl-C drains: nothing new is begun, running nodes may end; a second one stops at once. Nothing
    is lost either way. Start as many workers as you like, on as many machines as reach the backend.
    """
    from flowcraft_dagster.cli.worker_process import WorkerProcess
    from flowcraft_dagster.runtime.bounded import WorkBounds
    from flowcraft_dagster.runtime.faults import arm_from_environment

    start_logging()
    settings = Settings.from_env()
    if settings.backend == "memory":
        raise SettingsError("a worker in memory would serve nobody", name="FLOWCRAFT_BACKEND")
    if concurrency is not None:
        settings = replace(settings, options=replace(settings.options, concurrency=concurrency))
    arm_from_environment()
    app = require_app(target, "a worker")
    process = WorkerProcess(
        app,
        settings,
        slot=slot,
        health_port=health_port,
        bounds=WorkBounds(max_jobs, max_seconds, until_idle),
        end_with_stdin=end_with_stdin,
    )
    code = asyncio.run(process.serve())
    if process.should_recycle:
        # Threads that timed out cannot be ended but with their process.
        sys.stdout.flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the very command line this process was started with
    return code
