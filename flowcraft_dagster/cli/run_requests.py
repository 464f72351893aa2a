"""``request``: asking Dagster for runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, BinaryIO

import click

from flowcraft_dagster.cli.failures import DONE, CommandFailed, report
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import MAX_JSON_BYTES, Identifier, Text, context_option, json_option
from flowcraft_dagster.cli.session import open_client
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.engine.json_codec import decode_strictly
from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.runtime.start_request import StartRequest

SENT_AT_ONCE = 1000


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster request order --context '{\"orderId\": 7}' --run-id order-7",
        "flowcraft-dagster request order --contexts-file orders.jsonl --run-id monday",
        "flowcraft-dagster request order --contexts-file - < orders.jsonl",
    ],
)
@click.argument("blueprint_id", type=Text())
@context_option
@click.option(
    "--contexts-file",
    metavar="FILE",
    type=click.File("rb"),
    help="Contexts, a JSON object a line: a run for each. - is standard input.",
)
@click.option(
    "--run-id",
    metavar="ID",
    type=Identifier(),
    help="Name of the run; the same request twice is one run. Runs of a file add a dash and their number."
    " Made up without it.",
)
@json_option
@click.pass_context
def request(
    ctx: click.Context,
    blueprint_id: str,
    context: dict[str, Any],
    contexts_file: BinaryIO | None,
    run_id: str | None,
    as_json: bool,
) -> int:
    """Ask Dagster for a run of BLUEPRINT_ID, by the request queue, and print the id that the run will have.

    The run-request sensor starts it, seconds later, in the code location that has the blueprint; nothing else needs
    to be known here. What it cannot start becomes a dead letter. For a run at once, use 'start'.
    """
    if contexts_file is None:
        (sent,) = asyncio.run(_send([StartRequest(blueprint_id, context, run_id)]))
        if as_json:
            show_json({"runId": sent, "blueprintId": blueprint_id})
        else:
            click.echo(sent)
        return DONE
    if ctx.get_parameter_source("context") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("give --context or --contexts-file, not both.", ctx)
    requests = [
        StartRequest(blueprint_id, item, None if run_id is None else f"{run_id}-{number}")
        for number, item in enumerate(_read_lines(contexts_file))
    ]
    run_ids = asyncio.run(_send(requests))
    if as_json:
        show_json({"runIds": run_ids, "blueprintId": blueprint_id})
    else:
        for sent in run_ids:
            click.echo(sent)
    return DONE


def _read_lines(file: BinaryIO) -> list[dict[str, Any]]:
    """Everything is read before anything is sent."""
    contexts = []
    for number, line in enumerate(iter(lambda: file.readline(MAX_JSON_BYTES + 1), b""), 1):
        if not line.strip():
            continue
        place = f"'{file.name}', line {number}"
        if len(line) > MAX_JSON_BYTES:
            raise CommandFailed(f"{place}: more than {MAX_JSON_BYTES} bytes", "Nothing was sent.")
        try:
            context = decode_strictly(line)
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"{place}: not JSON: {error}", "Nothing was sent.") from None
        if not isinstance(context, dict):
            raise CommandFailed(f"{place}: not a JSON object", "Nothing was sent.")
        contexts.append(context)
    return contexts


async def _send(requests: Sequence[StartRequest]) -> list[str]:
    run_ids: list[str] = []
    async with open_client() as client:
        for first in range(0, len(requests), SENT_AT_ONCE):
            try:
                run_ids += await client.request_many(requests[first : first + SENT_AT_ONCE])
            except InfrastructureError:
                if run_ids:
                    report(f"the first {len(run_ids)} requests were sent")
                raise
    return run_ids
