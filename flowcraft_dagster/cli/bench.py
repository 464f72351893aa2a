"""``bench``: how much a backend does."""

from __future__ import annotations

from pathlib import Path

import click

from flowcraft_dagster.cli.failures import DONE
from flowcraft_dagster.cli.interruption import run_until_signalled
from flowcraft_dagster.cli.output import show_fields, show_json
from flowcraft_dagster.cli.parameters import Seconds, Text, json_option
from flowcraft_dagster.cli.progress import ProgressLine
from flowcraft_dagster.cli.session import keep_stdout_clean
from flowcraft_dagster.cli.taught import TaughtCommand


@click.command(
    cls=TaughtCommand,
    examples=[
        "flowcraft-dagster bench --blueprint chain5 --runs 2000 --workers 2",
        "flowcraft-dagster bench --blueprint chain:5000 --runs 1 --workers 1 --json | jq .worker_cpu_ms_per_node",
    ],
)
@click.option("--backend", type=click.Choice(["embedded", "kafka"]), default="embedded", show_default=True)
@click.option(
    "--blueprint",
    "name",
    metavar="NAME",
    type=Text(),
    default="chain5",
    show_default=True,
    help="chain5, diamond, fan50, moderation, or chain:N and fan:N of any size.",
)
@click.option("--runs", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="Runs to submit.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--durability",
    type=click.Choice(["node", "segment"]),
    help="node: a node's commit is durable before its successor starts; segment: one commit for a chain of nodes.",
)
@click.option("--context-kb", type=click.IntRange(0, 4000), default=0, help="Ballast in every initial context.")
@click.option("--in-flight", type=click.IntRange(1, 10_000), help="Runs under way at a time.  [default: all]")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the data go meanwhile; a real disk, please.")
@click.option("--timeout", type=Seconds(above_zero=True), default="900", show_default=True, help="For all runs.")
@json_option
def bench(
    backend: str,
    name: str,
    runs: int,
    workers: int,
    durability: str | None,
    context_kb: int,
    in_flight: int | None,
    folder: Path | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Measure runs and nodes a second, with worker processes and data of its own.

    The rate is runs by the time from the first submission to the last result; every result is checked against a run in
    memory. chain5: five nodes in a row. diamond: a, then b and c, then d. fan50: one node, fifty, one join.
    moderation: the example over its posts, from the project's folder. The raw rate is that of commits of one row from a
    bare client with 64 in flight on the same store, measured just before.
    """
    from flowcraft_dagster.settings import Settings
    from flowcraft_dagster.testing.bench.measure import BenchOptions, measure
    from flowcraft_dagster.testing.bench.workloads import find_workload

    with keep_stdout_clean():
        workload = find_workload(name, context_kb * 1024)
    options = BenchOptions(
        backend=backend,
        runs=runs,
        workers=workers,
        folder=folder or Settings.from_env().home,
        durability=durability,
        timeout=timeout,
        in_flight=in_flight,
    )
    with ProgressLine("runs", runs) as line:
        figures = run_until_signalled(measure(workload, options, lambda amount: line.move(amount=amount)))
    if as_json:
        show_json(figures)
    else:
        show_fields([(name.replace("_", " "), _show(value)) for name, value in figures.items() if value is not None])
    return DONE


def _show(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure}" for name, figure in value.items())
    return str(value)
