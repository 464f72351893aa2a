"""``start``, ``status`` and ``runs``."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from flowcraft_dagster.blueprint.model import Blueprint
from flowcraft_dagster.cli.failures import DONE, FAILED, describe_error, report
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import Identifier, Moment, Seconds, Text, app_option, context_option, json_option
from flowcraft_dagster.cli.run_display import header_to_json, judge_result, show_result, show_runs
from flowcraft_dagster.cli.session import find_app, open_client
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.errors import UnknownBlueprint, WaitTimeout
from flowcraft_dagster.ports.records import AWAITING, FINAL_STATUSES, LIVE_STATUSES, RunQuery
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.result import OpenWait, RunResult


def _read_tags(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name or name.startswith("flowcraft."):
            raise click.BadParameter(f"'{pair}' is not NAME=VALUE.", ctx, param)
        tags[name] = value
    return tags


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster start order --app shop.flows:app --context '{\"orderId\": 7}' --run-id order-7",
        "flowcraft-dagster start order --app shop.flows:app --context @order-7.json --wait 60",
        "flowcraft-dagster start order --app shop.flows:app --wait 60 --json | jq .outputs",
    ],
)
@click.argument("blueprint_id", type=Text())
@app_option
@context_option
@click.option(
    "--run-id",
    metavar="ID",
    type=Identifier(),
    help="Name of the run; the same start twice is one run. Made up without it.",
)
@click.option(
    "--tag",
    "tags",
    metavar="NAME=VALUE",
    type=Text(),
    multiple=True,
    callback=_read_tags,
    help="A label of the run.",
)
@click.option("--wait", "patience", type=Seconds(), help="Wait so long for the end and show the result.")
@json_option
def start(
    blueprint_id: str,
    target: str | None,
    context: dict[str, Any],
    run_id: str | None,
    tags: dict[str, str],
    patience: float | None,
    as_json: bool,
) -> int:
    """Start a run of BLUEPRINT_ID and print the run's id. Workers execute it.

    After this the run is not lost, whatever crashes. The blueprint comes from the app; without an app, from the last
    run of it. With --wait, exit code 0 says that the run completed; when the time is up the run goes on.
    """
    app = find_app(target)
    request = StartRequest(blueprint_id, context, run_id, tags)
    return asyncio.run(_start(request, {} if app is None else app.blueprints, patience, as_json))


async def _start(request: StartRequest, blueprints: dict[str, Blueprint], patience: float | None, as_json: bool) -> int:
    async with open_client(blueprints=blueprints) as client:
        if not blueprints:
            client.blueprints = await _find_last(client, request.blueprint_id)
        run_id = await client.start(request)
        if patience is None:
            if as_json:
                show_json({"runId": run_id, "blueprintId": request.blueprint_id})
            else:
                click.echo(run_id)
            return DONE
        report(f"run {run_id} started")
        try:
            result = await client.wait(run_id, patience)
        except WaitTimeout as error:
            report(f"error: {describe_error(error)}")
            if as_json:
                show_json({"runId": run_id, "status": error.status, "timedOut": True})
            elif error.status == AWAITING:
                show_result(await client.result(run_id), await client.waiting(run_id))
            return FAILED
    if as_json:
        show_json(result.to_json())
    else:
        show_result(result)
    return judge_result(result)


async def _find_last(client: AsyncClient, blueprint_id: str) -> dict[str, Blueprint]:
    """The blueprint as the latest run of it has it."""
    query = RunQuery(blueprint_id=blueprint_id, with_children=True, limit=1)
    for header in await client.runs(query):
        report(f"without an app: taking the blueprint of run {header.run_id}")
        return {blueprint_id: await client.find_blueprint(header)}
    raise UnknownBlueprint(blueprint_id=blueprint_id, known="none, since no app is named and no run of it is stored")


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster status order-7",
        "flowcraft-dagster status order-7 --json | jq -r .status",
    ],
)
@click.argument("run_id", type=Text())
@json_option
def status(run_id: str, as_json: bool) -> int:
    """Show the run RUN_ID: its status and reason, outputs, errors, and what it waits for and how to answer."""
    result, waits = asyncio.run(_load(run_id))
    if as_json:
        show_json({**result.to_json(), "waiting": [wait.to_json() for wait in waits]})
    else:
        show_result(result, waits)
    return DONE


async def _load(run_id: str) -> tuple[RunResult, list[OpenWait]]:
    async with open_client() as client:
        result = await client.result(run_id)
        return result, [] if result.is_final else await client.waiting(run_id)


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster runs --status failed --since 2h",
        "flowcraft-dagster runs --blueprint order --limit 10 --json | jq -r '.[].runId'",
    ],
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(LIVE_STATUSES | FINAL_STATUSES)),
    help="Only runs in this status. May be given again.",
)
@click.option("--blueprint", "blueprint_id", metavar="ID", type=Text(), help="Only runs of this blueprint.")
@click.option("--since", type=Moment(), default="0", help="Only runs that moved since then: 2h, 7d, 2025-01-31T09:30.")
@click.option("--children", "with_children", is_flag=True, help="List the child runs of sub-flows too.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most.")
@json_option
def runs(
    statuses: tuple[str, ...],
    blueprint_id: str | None,
    since: float,
    with_children: bool,
    limit: int,
    as_json: bool,
) -> int:
    """List runs, the latest first."""
    query = RunQuery(frozenset(statuses), blueprint_id, since, with_children, limit)
    headers = asyncio.run(_list(query))
    if as_json:
        show_json([header_to_json(header) for header in headers])
    elif headers:
        show_runs(headers, with_children=with_children)
    else:
        report("no runs")
    return DONE


async def _list(query: RunQuery) -> tuple[Any, ...]:
    async with open_client() as client:
        return await client.runs(query)
