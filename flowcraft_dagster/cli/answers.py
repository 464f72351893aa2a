"""``resume``, ``cancel`` and ``retry``: saying something to a run."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from flowcraft_dagster.cli.failures import DONE
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import Identifier, JsonValue, Text, json_option
from flowcraft_dagster.cli.session import open_client
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.engine.values import UNDEFINED
from flowcraft_dagster.ports.records import CANCELLED, RunHeader


@click.command(
    cls=TaughtCommand,
    examples=[
        'flowcraft-dagster resume order-7 approve --output \'{"by": "Ada"}\' --action approved',
        "flowcraft-dagster resume order-7 payment/confirm --output true",
    ],
)
@click.argument("run_id", type=Text())
@click.argument("node", type=Text())
@click.option("--output", metavar="JSON|@FILE", type=JsonValue(), default=None, help="The answer: the node's output.")
@click.option("--action", metavar="NAME", type=Text(), help="Chooses the edges with this action.")
@click.option("--request-id", metavar="ID", type=Text(), help="Name of this answer; the same answer twice is one.")
@json_option
@click.pass_context
def resume(
    ctx: click.Context,
    run_id: str,
    node: str,
    output: Any,
    action: str | None,
    request_id: str | None,
    as_json: bool,
) -> int:
    """Answer NODE of the run RUN_ID, a 'wait' or 'webhook' that is open.

    NODE is a node id; PARENT/CHILD for a wait inside a sub-flow; or an activation such as approve#2 where several of
    the node wait. 'status' shows what a run waits for.
    """
    given = ctx.get_parameter_source("output") is not click.core.ParameterSource.DEFAULT
    answer = output if given else UNDEFINED
    activation = asyncio.run(_resume(run_id, node, answer, action, request_id))
    if as_json:
        show_json({"runId": run_id, "node": node, "activation": activation})
    else:
        click.echo(f"answered {activation} of run {run_id}")
    return DONE


async def _resume(run_id: str, node: str, output: Any, action: str | None, request_id: str | None) -> str:
    async with open_client() as client:
        return await client.resume(run_id, node, output=output, action=action, request_id=request_id)


@click.command(
    cls=TaughtCommand,
    examples=[
        'flowcraft-dagster cancel order-7 --reason "the customer has withdrawn"',
    ],
)
@click.argument("run_id", type=Text())
@click.option(
    "--reason", type=Text(), default="cancelled by request", show_default=True, help="Is shown with the run."
)
@json_option
def cancel(run_id: str, reason: str, as_json: bool) -> int:
    """Ask the run RUN_ID to end; running nodes are interrupted and child runs end too.

    Asking again is no harm, and the first reason stands. A run that has completed or failed never changes: exit code 1.
    """
    header = asyncio.run(_cancel(run_id, reason))
    is_over = header.status == CANCELLED
    if as_json:
        show_json({"runId": run_id, "cancelRequested": not is_over, "status": header.status})
    else:
        click.echo(f"run {run_id} is cancelled already" if is_over else f"asked run {run_id} to end")
    return DONE


async def _cancel(run_id: str, reason: str) -> RunHeader:
    async with open_client() as client:
        return await client.cancel(run_id, reason)


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster retry order-7",
        "flowcraft-dagster retry order-7 --run-id order-7-second-try",
    ],
)
@click.argument("run_id", type=Text())
@click.option(
    "--run-id",
    "new_run_id",
    metavar="ID",
    type=Identifier(),
    help="Id of the new run; derived from the old one by default.",
)
@json_option
def retry(run_id: str, new_run_id: str | None, as_json: bool) -> int:
    """Start a new run that goes on from what failed in the run RUN_ID.

    What the failed or cancelled run committed is kept; the old run never changes. The same retry twice is one run.
    """
    started = asyncio.run(_retry(run_id, new_run_id))
    if as_json:
        show_json({"runId": started, "retryOf": run_id})
    else:
        click.echo(f"started run {started}, which goes on from run {run_id}")
    return DONE


async def _retry(run_id: str, new_run_id: str | None) -> str:
    async with open_client() as client:
        return await client.retry(run_id, new_run_id)
