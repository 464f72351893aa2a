"""``lint`` and ``graph``: looking at a blueprint without running it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flowcraft_dagster.blueprint import (
    Blueprint,
    RunPicture,
    draw_mermaid,
    find_problems,
    lint_blueprint,
    load_document,
    parse_blueprint,
    read_blueprint,
)
from flowcraft_dagster.cli.failures import report
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import (
    FilePath,
    Text,
    app_option,
    blueprint_file,
    blueprints_option,
    json_option,
)
from flowcraft_dagster.cli.session import add_blueprints, find_app, open_client
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.engine.expression import compile_expression
from flowcraft_dagster.errors import BlueprintError, BlueprintUnreadable, one_line
from flowcraft_dagster.runtime.result import RunResult

REFUSED = "REFUSED"
"""Code of what is no blueprint at all; the linter's own codes are about blueprints."""


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster lint order.json",
        "flowcraft-dagster lint order.json --app shop.flows:app",
        "flowcraft-dagster lint order.json --json | jq '.issues[].code'",
    ],
)
@blueprint_file
@app_option
@blueprints_option
@json_option
def lint(file: Path, target: str | None, extra: tuple[Path, ...], as_json: bool) -> int:
    """Look for mistakes in the blueprint in FILE.json. Exit code 1 when there is an error.

    With --app, node kinds and sub-flows are looked up too.
    """
    document, problems = _read(file)
    issues = [_describe_problem(problem) for problem in problems]
    blueprint = None if problems else parse_blueprint(document, default_id=file.stem)
    if blueprint is not None:
        issues = _lint(blueprint, target, extra)
    is_valid = not any(issue["severity"] == "error" for issue in issues)
    if as_json:
        name = problems[0].blueprint_id if blueprint is None else blueprint.id
        show_json({"file": str(file), "blueprintId": name, "valid": is_valid, "issues": issues})
    else:
        for issue in issues:
            line = f"{file}: {issue['severity']} {issue['code']}: {issue['message']}. {issue['hint']}"
            click.echo(one_line(line.rstrip()))
        errors = sum(issue["severity"] == "error" for issue in issues)
        click.echo(f"{file}: {errors} errors, {len(issues) - errors} warnings")
    return 0 if is_valid else 1


def _check(text: str) -> None:
    compile_expression(text)


def _lint(blueprint: Blueprint, target: str | None, extra: tuple[Path, ...]) -> list[dict[str, Any]]:
    from flowcraft_dagster.app import Flowcraft

    app = find_app(target)
    known = app or Flowcraft()
    add_blueprints(known, extra)
    blueprints = {**known.blueprints, blueprint.id: blueprint}
    report_of = lint_blueprint(
        blueprint,
        node_kinds=None if app is None else set(app.nodes),
        blueprints=None if app is None and not extra else blueprints,
        check_expression=_check,
        expression_names=lambda text: set(compile_expression(text).names),
    )
    return [
        {
            "code": issue.code,
            "severity": issue.severity,
            "message": issue.message,
            "node": issue.node_id,
            "related": issue.related_id,
            "hint": issue.hint,
        }
        for issue in report_of.issues
    ]


def _read(file: Path) -> tuple[Any, Sequence[BlueprintError]]:
    """The document, and why it is refused. What is no JSON is refused like anything else, and --json tells of it."""
    try:
        document = load_document(file)
    except BlueprintUnreadable:
        raise
    except BlueprintError as refusal:
        return None, [refusal]
    return document, find_problems(document, default_id=file.stem, check_expression=_check)


def _describe_problem(problem: BlueprintError) -> dict[str, Any]:
    return {
        "code": REFUSED,
        "severity": "error",
        "message": str(problem),
        "node": problem.node_id,
        "related": problem.edge,
        "field": problem.field,
        "hint": problem.hint,
    }


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster graph order.json > order.mmd",
        "flowcraft-dagster graph order.json --run 4f1c",
        "flowcraft-dagster graph --run 4f1c",
    ],
)
@click.argument("file", metavar="[FILE.json]", required=False, type=FilePath())
@click.option(
    "--run", "run_id", metavar="RUN_ID", type=Text(), help="Draw what happened in this run into its blueprint."
)
def graph(file: Path | None, run_id: str | None) -> int:
    """Draw the blueprint in FILE.json as a Mermaid flowchart, as text on standard output.

    With --run, nodes that finished are green, failed ones red, waiting ones yellow, and taken edges are blue; the
    file may be left out then.
    """
    if file is None and run_id is None:
        raise click.UsageError("give FILE.json, or a run with --run.", click.get_current_context())
    blueprint = None if file is None else read_blueprint(file)
    picture = None
    if run_id is not None:
        pinned, result = asyncio.run(_load_run(run_id))
        if blueprint is not None and blueprint.content_hash != pinned.content_hash:
            report(f"run {run_id} follows another version of blueprint '{pinned.id}': drawing that one")
        blueprint, picture = pinned, make_picture(result)
    if blueprint is not None:
        click.echo(draw_mermaid(blueprint, picture), nl=False)
    return 0


async def _load_run(run_id: str) -> tuple[Blueprint, RunResult]:
    async with open_client() as client:
        result = await client.result(run_id)
        return await client.find_blueprint(await client.status(run_id)), result


def make_picture(result: RunResult) -> RunPicture:
    """What of a run is drawn into its blueprint."""
    counts = Counter(timing.node_id for timing in result.timings)
    return RunPicture(
        finished=frozenset(timing.node_id for timing in result.timings if timing.status == "ok"),
        failed=frozenset(result.failed_nodes),
        waiting=frozenset(wait.node_id for wait in result.waiting),
        taken_edges=result.taken_edges,
        counts=counts,
    )
