"""``conformance``: a backend against a file of cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowcraft_dagster.cli.failures import DONE, FAILED
from flowcraft_dagster.cli.interruption import run_until_signalled
from flowcraft_dagster.cli.output import show_json
from flowcraft_dagster.cli.parameters import Seconds, Text, json_option
from flowcraft_dagster.cli.progress import ProgressLine
from flowcraft_dagster.cli.taught import TaughtCommand
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.errors import one_line

if TYPE_CHECKING:
    from flowcraft_dagster.testing.conformance.report import CaseOutcome, ConformanceReport


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster conformance cases.json --backend memory",
        "flowcraft-dagster conformance cases.json --backend embedded --workers 4 --report out.json",
        "flowcraft-dagster conformance cases.json --workers 2 --kill-interval 2",
    ],
)
@click.argument("file", metavar="CASES.json", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--backend",
    type=click.Choice(["memory", "embedded", "kafka"]),
    default="embedded",
    show_default=True,
    help="What is checked. Servers are found by their variables; data, topics and keyspace are the check's own.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--kill-interval",
    type=Seconds(above_zero=True),
    help="Kill a random worker with SIGKILL at random moments around this interval, and start another.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random kills.")
@click.option("--side-by-side", type=click.IntRange(1, 256), default=8, show_default=True, help="Cases at a time.")
@click.option(
    "--case-timeout", type=Seconds(above_zero=True), help="Patience with one case.  [default: 60; 180 with kills]"
)
@click.option("--only", metavar="TEXT", type=Text(), default="", help="Only cases with this in their name or category.")
@click.option("--report", "report_path", metavar="OUT.json", type=click.Path(path_type=Path), help="Write the report.")
@click.option("--keep", metavar="FOLDER", type=click.Path(path_type=Path), help="Keep data and logs of workers here.")
@json_option
def conformance(
    file: Path,
    backend: str,
    workers: int,
    kill_interval: float | None,
    seed: int,
    side_by_side: int,
    case_timeout: float | None,
    only: str,
    report_path: Path | None,
    keep: Path | None,
    as_json: bool,
) -> int:
    """Run the cases in CASES.json through a backend and compare. Exit code 1 when one does not pass.

    Worker processes execute the runs (in memory: none); this program starts them, answers waits through the client and
    lets sleeps fire. Starts of nodes are counted outside of what is committed. With --kill-interval, cases begin spread
    out, so that there is at least one kill for every 20 cases, and nodes take up to 0.2 s longer, so that kills hit
    them; 'executions' may then be larger than expected, nothing else may differ.
    """
    from flowcraft_dagster.testing.conformance.cases import load_cases
    from flowcraft_dagster.testing.conformance.runner import ConformanceOptions, ConformanceRunner

    if backend == "memory" and kill_interval is not None:
        raise click.UsageError("in memory there is no worker to kill.", click.get_current_context())
    cases = [case for case in load_cases(file) if only in case.name or only in case.category]
    if not cases:
        # Nothing that was run must not read as everything that passed.
        reason = f"no case in '{file}' has '{only}' in its name or category." if only else f"'{file}' holds no case."
        raise click.UsageError(reason, click.get_current_context())
    options = ConformanceOptions(
        backend=backend,
        workers=workers,
        kill_interval=kill_interval,
        seed=seed,
        side_by_side=side_by_side,
        case_seconds=case_timeout or (60.0 if kill_interval is None else 180.0),
        folder=keep,
    )
    with ProgressLine("cases", len(cases)) as line:

        def show(_: CaseOutcome, so_far: ConformanceReport) -> None:
            line.move(f"{so_far.failed} failed")

        outcome = run_until_signalled(ConformanceRunner(file, cases, options, show).run())
    document = outcome.to_json()
    if report_path is not None:
        report_path.write_bytes(encode(document) + b"\n")
    if as_json:
        show_json(document)
    else:
        for case in outcome.cases:
            if not case.ok:
                click.echo(one_line(f"FAILED {case.category} {case.name}: {case.difference}"))
        killed = ""
        if outcome.killed:
            killed = f", {outcome.killed} workers killed, {outcome.killed_at_work} of them while they ran a node"
        click.echo(f"{outcome.passed} passed, {outcome.failed} failed{killed}")
    return FAILED if outcome.failed else DONE
