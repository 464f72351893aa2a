"""How runs are shown to people and to programs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from flowcraft_dagster.cli.output import shorten, show_fields, show_seconds, show_table, show_time, show_value
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.ports.records import COMPLETED, RunHeader
from flowcraft_dagster.runtime.result import OpenWait, RunResult

_INTERNAL_TAGS = "flowcraft."
_SHOWN_REASON = 80
_SHOWN_PENDING = 20


def header_to_json(header: RunHeader) -> dict[str, Any]:
    """A run as it is listed."""
    parent = header.parent
    return {
        "runId": header.run_id,
        "blueprintId": header.blueprint_id,
        "blueprintHash": header.blueprint_hash,
        "status": header.status,
        "reason": header.reason,
        "startedAt": header.started_at,
        "updatedAt": header.updated_at,
        "finishedAt": header.finished_at,
        "parent": None if parent is None else {"runId": parent.run_id, "activation": parent.activation},
        "tags": {key: value for key, value in header.tags.items() if not key.startswith(_INTERNAL_TAGS)},
        "retryOf": header.retry_of,
    }


def show_runs(headers: Sequence[RunHeader], *, with_children: bool) -> None:
    """List runs as a table."""
    columns = ["RUN", "BLUEPRINT", "STATUS", "STARTED", "TOOK", "REASON"]
    rows = []
    for header in headers:
        took = None if header.finished_at is None else header.finished_at - header.started_at
        row = [
            header.run_id,
            header.blueprint_id,
            header.status,
            show_time(header.started_at, with_year=False),
            show_seconds(took),
            shorten(header.reason or "", _SHOWN_REASON),
        ]
        if with_children:
            row.insert(1, header.parent.run_id if header.parent is not None else "-")
        rows.append(row)
    if with_children:
        columns.insert(1, "PARENT")
    show_table(columns, rows)


def show_result(result: RunResult, waits: Iterable[OpenWait] = ()) -> None:
    """Show a run with everything a person may want to know of it."""
    fields = [("run", result.run_id), ("blueprint", result.blueprint_id), ("status", result.status)]
    if result.reason:
        fields.append(("reason", result.reason))
    fields.append(("started", show_time(result.started_at)))
    if result.finished_at is not None:
        fields.append(("took", show_seconds(result.finished_at - result.started_at)))
    else:
        fields.append(("last move", f"{show_seconds(time.time() - result.updated_at)} ago"))
    fields.extend((f"tag {name}", value) for name, value in sorted(result.tags.items()))
    if result.retry_of:
        fields.append(("goes on from", result.retry_of))
    show_fields(fields)
    if result.outputs:
        click.echo("outputs:")
        for node_id, value in result.outputs.items():
            click.echo(f"  {one_line(node_id)}: {show_value(value)}")
    user_keys = {key: value for key, value in result.context.items() if not key.startswith("_")}
    if user_keys:
        click.echo("context:")
        for key, value in user_keys.items():
            click.echo(f"  {one_line(key)}: {show_value(value)}")
    if result.errors:
        click.echo("errors:")
        for error in result.errors:
            handled = ", handled by its fallback" if error.handled else ""
            text = f"{error.activation}, attempt {error.attempt}: {error.type}: {error.message}{handled}"
            click.echo(f"  {one_line(' '.join(text.split()))}")
    if result.skipped_nodes:
        click.echo(f"never started: {one_line(', '.join(result.skipped_nodes))}")
    if result.is_final:
        return
    if result.pending:
        click.echo(f"running, or waiting for a worker: {one_line(', '.join(result.pending[:_SHOWN_PENDING]))}")
    running = [timing.activation for timing in result.timings if timing.finished_at is None]
    listed = list(waits)
    for wait in listed:
        click.echo(f"waits: {_describe_wait(result.run_id, wait)}")
    if not listed and running:
        click.echo(f"open: {one_line(', '.join(running))}")


def _describe_wait(run_id: str, wait: OpenWait) -> str:
    text = f"{wait.path} ({wait.kind}) since {show_time(wait.since)}"
    details = wait.details
    if wait.details.get("eventName"):
        text += f", for '{details['eventName']}'"
    if "wakeAt" in details:
        text += f", until {show_time(details['wakeAt'])}"
    if wait.kind in ("wait", "webhook"):
        name = wait.path if wait.activation == wait.node_id else wait.activation
        owner = run_id if name == wait.path else wait.run_id
        text += f"\n  answer: flowcraft-dagster resume {shlex.quote(owner)} {shlex.quote(name)} --output JSON"
        return "\n".join(map(one_line, text.split("\n")))
    return one_line(text)


def judge_result(result: RunResult) -> int:
    """Exit code for a run that somebody waited for: 0 when it completed."""
    return 0 if result.status == COMPLETED else 1
