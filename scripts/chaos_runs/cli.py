"""The command line of ``scripts/chaos``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stack_servers.errors import StackError
from stack_servers.kinds import KINDS as SERVERS
from stack_servers.stack import Stack

from chaos_runs.trouble import make_trouble
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.testing.chaos.app import DWELL, RECORD, TARGET, make_app
from flowcraft_dagster.testing.chaos.load import ChaosLoad, find_references
from flowcraft_dagster.testing.environment import make_token, open_separate_backend, separate_environment
from flowcraft_dagster.testing.fleet import WorkerFleet

_DESCRIPTION = """\
Start workflows of seven kinds on servers and workers of their own; while they run, restart the broker, take Cassandra
away, take Redis away. At the end every run must have ended once, completed, with the outputs of the same run in
memory. The exit code is 0 when it is so.
"""

# A dead worker's place is free after 3 s; a request to a server that is away is given up soon and made again.
_TIMINGS = {
    "KAFKA_SESSION_SECONDS": "3",
    "CASSANDRA_REQUEST_SECONDS": "2",
    "CASSANDRA_GIVE_UP_SECONDS": "5",
    "FLOWCRAFT_HEARTBEAT_SECONDS": "2",
    "FLOWCRAFT_RETRY_MAX_SECONDS": "2",
    "FLOWCRAFT_LOG_LEVEL": "WARNING",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one go.

    Args:
        arguments: the command line without the program's name; that of this process by default.

    Returns:
        0 when every run ended once and rightly; 1 otherwise.
    """
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        stack = Stack(Path(folder) / "servers", _report, timeout_seconds=180.0)
        try:
            stack.up(dict.fromkeys(SERVERS, 0), docker=False)
            figures = asyncio.run(run_chaos(stack, Path(folder), options))
        except (StackError, FlowcraftError) as error:
            _report(f"error: {error}")
            return 1
        finally:
            stack.down(delete=True)
    print(json.dumps(figures, indent=2) if options.json else _describe(figures))
    return 0 if figures["ok"] else 1


async def run_chaos(stack: Stack, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start the runs, make trouble, wait for all ends, and judge.

    Args:
        stack: servers that are up.
        folder: for logs and the record of executions.
        options: see ``--help``.

    Returns:
        The figures, JSON.
    """
    references = await find_references()
    record = folder / "executions"
    environment = {
        **stack.environment(),
        **separate_environment("kafka", folder, make_token()),
        **_TIMINGS,
        RECORD: str(record),
        DWELL: str(options.dwell),
    }
    settings = Settings.from_env({**os.environ, **environment})
    app = make_app(0.0, None)
    async with open_separate_backend(settings) as backend:
        client = app.async_client(settings, backend=backend, dice=random.SystemRandom())
        load = ChaosLoad(client, options.runs, record)
        async with WorkerFleet(TARGET, options.workers, environment, folder) as fleet:
            began = time.monotonic()
            await load.start()
            _report(f"{options.runs} runs started in {time.monotonic() - began:.1f} s")
            following = asyncio.ensure_future(load.follow())
            try:
                troubles = await make_trouble(stack, options.away, lambda: load.live, options.pause)
                for trouble in troubles:
                    _report(f"{trouble.what}: {trouble.live_before} runs were live, then {trouble.live_after}")
                _, late = await asyncio.wait({following}, timeout=options.timeout)
                if not late:
                    following.result()
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            seconds = time.monotonic() - began
            findings = await load.judge(references)
            died = fleet.died
    return {
        **findings.to_json(),
        "seconds": round(seconds, 1),
        "workers": options.workers,
        "workers_that_died": died,
        "troubles": [trouble.to_json() for trouble in troubles],
    }


def _describe(figures: dict[str, Any]) -> str:
    lines = [
        f"runs                      {figures['runs']:>6}",
        f"  ended                   {figures['ended']:>6}",
        f"  completed               {figures['completed']:>6}",
        f"  failed                  {figures['failed']:>6}",
        f"  with the right outputs  {figures['right']:>6}",
        f"  that ended once         {figures['ended_once']:>6}",
        f"waits answered            {figures['answered']:>6}",
        f"nodes                     {figures['nodes']:>6}",
        f"  executions of them      {figures['executions']:>6}",
        f"workers that died         {figures['workers_that_died']:>6}",
        f"seconds                   {figures['seconds']:>6}",
    ]
    for trouble in figures["troubles"]:
        lines.append(
            f"{trouble['what']}: away {trouble['seconds']} s; live runs {trouble['live_before']} before, "
            f"{trouble['live_after']} after"
        )
    return "\n".join([*lines, *figures["problems"], "ok" if figures["ok"] else "NOT OK"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=_count, default=500, metavar="N", help="how many [500]")
    parser.add_argument("--workers", type=_count, default=3, metavar="N", help="worker processes [3]")
    parser.add_argument("--dwell", type=float, default=5.0, metavar="SECONDS", help="how long a node takes [5]")
    parser.add_argument("--away", type=float, default=10.0, metavar="SECONDS", help="how long a server is away [10]")
    parser.add_argument("--pause", type=float, default=2.0, metavar="SECONDS", help="between two troubles [2]")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="for all runs to end [900]")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        message = f"{text} is less than 1"
        raise argparse.ArgumentTypeError(message)
    return value


def _report(line: str) -> None:
    sys.stderr.write(f"chaos: {line}\n")
    sys.stderr.flush()
