"""``run``: a blueprint file in memory."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcraft_dagster.cli.failures import report
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import (
    Seconds,
    app_option,
    blueprint_file,
    blueprints_option,
    context_option,
    json_option,
)
from flowcraft_dagster.cli.run_display import judge_result, show_result
from flowcraft_dagster.cli.session import add_blueprints, find_app, keep_stdout_clean
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.errors import WaitTimeout
from flowcraft_dagster.ports.records import AWAITING
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.result import RunResult
from flowcraft_dagster.settings import Settings

if TYPE_CHECKING:
    from flowcraft_dagster.app import Flowcraft
    from flowcraft_dagster.engine.node import Event


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster run hello.json",
        "flowcraft-dagster run order.json --app shop.flows:app --context '{\"orderId\": 7}'",
        "flowcraft-dagster run order.json --app shop.flows:app --context @order-7.json --json | jq .outputs",
        "flowcraft-dagster run parent.json --blueprints ./blueprints --events",
    ],
)
@blueprint_file
@app_option
@blueprints_option
@context_option
@click.option("--timeout", type=Seconds(above_zero=True), help="Give up after so long; without it, never.")
@click.option("--events", "show_events", is_flag=True, help="Write what happens to standard error, a line each.")
@json_option
def run(
    file: Path,
    target: str | None,
    extra: tuple[Path, ...],
    context: dict[str, Any],
    timeout: float | None,
    show_events: bool,
    as_json: bool,
) -> int:
    """Run the blueprint in FILE.json in this process and in memory, until it ends or waits.

    Nothing is stored: use it to try a blueprint. A file without an id takes its own name as id. A run that waits for
    an answer ends here unanswered, with exit code 1; 'start' it with a worker to answer it.
    """
    from flowcraft_dagster.app import Flowcraft, check_expression
    from flowcraft_dagster.blueprint import read_blueprint
    from flowcraft_dagster.local import run_interruptibly

    blueprint = read_blueprint(file, check_expression=check_expression)
    app = find_app(target) or Flowcraft()
    add_blueprints(app, extra)
    # The file that is named goes before the app's own blueprint of that id.
    app.blueprints[blueprint.id] = blueprint
    if os.environ.get("FLOWCRAFT_LOG_LEVEL") is None:
        # What the runtime has to say is in the result; what nodes log is for the person who runs them.
        logging.getLogger("flowcraft_dagster.runtime").setLevel(logging.ERROR)
    if show_events:
        app.listeners.append(_report_event)
    try:
        with keep_stdout_clean():
            result = run_interruptibly(_run(app, blueprint.id, context, timeout))
    except WaitTimeout as late:
        advice = "It ended with this program: give it more time, or 'start' it with a worker."
        raise WaitTimeout(run_id=late.run_id, status=late.status, timeout_seconds=timeout, advice=advice) from None
    if as_json:
        show_json(result.to_json())
    else:
        show_result(result, result.waiting)
    if not result.is_final:
        report("the run waits, and in memory nobody can answer: use 'start' with a worker")
    return judge_result(result)


async def _run(app: Flowcraft, blueprint_id: str, context: dict[str, Any], patience: float | None) -> RunResult:
    from flowcraft_dagster.local import LocalRuntime

    options = Settings.from_env().options
    async with LocalRuntime(app, replace(options, timer_seconds=min(options.timer_seconds, 0.01))) as local:
        run_id = await local.client.start(StartRequest(blueprint_id, context))
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            await local.wait_for_pause(run_id, None if deadline is None else max(0.0, deadline - time.monotonic()))
            waits = await local.client.waiting(run_id)
            # Sleeps and delayed retries end by themselves; only an answer would have to come from outside.
            if not any("wakeAt" in wait.details for wait in waits):
                return await local.client.result(run_id)
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(run_id=run_id, status=AWAITING, timeout_seconds=patience)
            await asyncio.sleep(0.01)


def _report_event(event: Event) -> None:
    payload = event.payload
    details = [f"{name}={payload[name]}" for name in ("activation", "action", "status", "reason") if payload.get(name)]
    error = payload.get("error")
    if error:
        details.append(f"error={error.get('message') if isinstance(error, dict) else error}")
    report(" ".join([event.type, *map(str, details)]))
