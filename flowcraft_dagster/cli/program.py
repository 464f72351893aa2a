"""The program: its name, its sections and where each command is found."""

from __future__ import annotations

import click

from flowcraft_dagster.cli.lazy_group import CommandPlace, LazyGroup
from flowcraft_dagster.version import __version__

HELP = """Durable workflows from JSON blueprints: try them, start them, look after them.

\b
A first round, on one machine and with nothing installed but this package:
  flowcraft-dagster run hello.json --app my_nodes:app --context '{"name": "Ada"}'
  flowcraft-dagster worker --app my_nodes:app &
  flowcraft-dagster start hello --app my_nodes:app --context '{"name": "Ada"}' --wait 10
  flowcraft-dagster runs

\b
Where runs are kept, by environment:
  FLOWCRAFT_BACKEND   embedded (default, SQLite), kafka (Kafka, Cassandra and Redis) or memory
  FLOWCRAFT_HOME      folder of the embedded backend; default $DAGSTER_HOME/flowcraft, else ./.flowcraft
  FLOWCRAFT_APP       MODULE:ATTR of your app, instead of --app

Exit codes: 0 done, 1 the work failed, 2 wrong usage. Errors are one line on standard error;
FLOWCRAFT_DEBUG=1 adds the traceback.
"""

_HERE = "flowcraft_dagster.cli"

SECTIONS = {
    "Try a blueprint": {
        "run": CommandPlace(f"{_HERE}.local_run:run", "Run a blueprint file in memory, here and now."),
        "lint": CommandPlace(f"{_HERE}.blueprints:lint", "Look for mistakes in a blueprint file."),
        "graph": CommandPlace(f"{_HERE}.blueprints:graph", "Draw a blueprint, or a run of it, as Mermaid text."),
    },
    "Runs": {
        "start": CommandPlace(f"{_HERE}.runs:start", "Start a run; workers execute it."),
        "request": CommandPlace(f"{_HERE}.run_requests:request", "Ask Dagster for a run, by the request queue."),
        "status": CommandPlace(f"{_HERE}.runs:status", "Show a run: status, outputs, what it waits for."),
        "runs": CommandPlace(f"{_HERE}.runs:runs", "List runs, the latest first."),
        "resume": CommandPlace(f"{_HERE}.answers:resume", "Answer a node that waits."),
        "cancel": CommandPlace(f"{_HERE}.answers:cancel", "End a run and its child runs."),
        "retry": CommandPlace(f"{_HERE}.answers:retry", "Go on from what failed in an ended run."),
    },
    "Operate": {
        "worker": CommandPlace(f"{_HERE}.worker:worker", "Execute runs until stopped."),
        "reconcile": CommandPlace(f"{_HERE}.upkeep:reconcile", "Find runs that stand still and wake them."),
        "forget": CommandPlace(f"{_HERE}.upkeep:forget", "Delete runs that ended long ago."),
        "init": CommandPlace(f"{_HERE}.upkeep:init", "Make the folders, tables and topics that are missing."),
        "dead-letters": CommandPlace(f"{_HERE}.dead_letters:dead_letters", "Messages nobody could handle."),
        "doctor": CommandPlace(f"{_HERE}.doctor:doctor", "Check settings, servers, workers and queues."),
    },
    "Measure": {
        "conformance": CommandPlace(f"{_HERE}.conformance:conformance", "Check a backend against cases."),
        "bench": CommandPlace(f"{_HERE}.bench:bench", "Measure how many runs a second a backend does."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    name="flowcraft-dagster",
    help=HELP,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", prog_name="flowcraft-dagster")
@click.pass_context
def program(ctx: click.Context) -> int | None:
    """The program without a command shows its help."""
    if ctx.invoked_subcommand is not None:
        return None
    click.echo(ctx.get_help())
    return 2
