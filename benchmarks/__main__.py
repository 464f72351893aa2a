"""Measure on real servers: ``python -m benchmarks [NAME ...]``.

Needs Kafka, Cassandra and Redis on their usual loopback ports (``scripts/stack up``); the comparison with the peer also
needs Node.js and the peer's folder. Progress goes to standard error, Markdown tables to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.backlog import measure_backlog
from benchmarks.completion import compare_completion
from benchmarks.scaling import compare_sizes
from benchmarks.side_by_side import BLUEPRINTS, Plan, compare

NAMES = ("peer", "sizes", "backlog", "completion")


def main() -> int:
    """Measure, print tables, and write the figures as JSON."""
    arguments = parse_arguments()
    plan = Plan(
        blueprints=tuple(arguments.blueprints),
        rounds=arguments.rounds,
        runs=arguments.runs,
        peer_runs=arguments.peer_runs,
        workers=arguments.workers,
        shared=arguments.shared,
    )
    measurements: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
        "peer": (lambda: compare(plan), tables.write_comparison),
        "sizes": (lambda: asyncio.run(compare_sizes()), tables.write_sizes),
        "backlog": (lambda: asyncio.run(measure_backlog()), tables.write_fields),
        "completion": (lambda: asyncio.run(compare_completion()), tables.write_completion),
    }
    figures: dict[str, Any] = {}
    for name in arguments.names or NAMES:
        call, write = measurements[name]
        print(f"-- {name}", file=sys.stderr, flush=True)
        figures[name] = call()
        print(f"\n## {name}\n\n{write(figures[name])}", flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # No choices here: argparse would check the empty list against them.
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all of them by default")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with the peer and its data")
    parser.add_argument("--blueprints", nargs="+", choices=sorted(BLUEPRINTS), default=list(BLUEPRINTS))
    parser.add_argument("--runs", type=int, default=1500, help="our runs in a round")
    parser.add_argument("--peer-runs", type=int, default=100, help="the peer's runs in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of each side")
    parser.add_argument("--output", type=Path, help="a file for all figures, JSON")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"'{name}' is none of {', '.join(NAMES)}")
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
