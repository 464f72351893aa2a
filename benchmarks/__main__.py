"""Measure this project and the peer in turn, on the same servers: ``python -m benchmarks``.

Needs Kafka, Cassandra and Redis on their usual loopback ports (``scripts/stack up``), Node.js, and the peer's folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peer import install_peer, measure_peer, run_peer_workers

BLUEPRINTS = {"chain5": "chain5", "diamond": "diamond", "fan50": "fan50", "moderation": "400"}
"""Our name of each workload, and the peer's."""
PARTITIONS = 4
"""As many as the peer's own schema makes."""


def main() -> int:
    """Measure, print a table, and write the figures as JSON."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        programs = install_peer(arguments.shared, Path(folder))
        figures = {name: measure_blueprint(name, arguments, programs) for name in arguments.blueprints}
    print_table(figures)
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with the peer and its data")
    parser.add_argument("--blueprints", nargs="+", choices=sorted(BLUEPRINTS), default=list(BLUEPRINTS))
    parser.add_argument("--runs", type=int, default=300, help="our runs in a round")
    parser.add_argument("--peer-runs", type=int, default=60, help="the peer's runs in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of each side")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def measure_blueprint(name: str, arguments: argparse.Namespace, programs: Path) -> dict[str, Any]:
    """Rounds of ours and the peer's, in turn."""
    ours: list[dict[str, Any]] = []
    segment: list[dict[str, Any]] = []
    peers: list[dict[str, float]] = []
    single: list[float] = []
    for number in range(arguments.rounds):
        ours.append(measure_ours(name, arguments, "node"))
        segment.append(measure_ours(name, arguments, "segment"))
        topic = f"peer-{os.getpid()}-{name}-{number}"
        with run_peer_workers(programs, topic, arguments.workers):
            single.extend(
                measure_peer(programs, topic, BLUEPRINTS[name], 1, 60)["seconds"] * 1000 for _ in range(3)
            )
            peers.append(measure_peer(programs, topic, BLUEPRINTS[name], arguments.peer_runs, 180))
        print(f"{name}: round {number + 1} of {arguments.rounds} done", file=sys.stderr)
    return {
        "ours": ours,
        "segment": segment,
        "peer": peers,
        "runs_per_s": _median(ours, "runs_per_s"),
        "segment_runs_per_s": _median(segment, "runs_per_s"),
        "peer_runs_per_s": _median(peers, "runs_per_s"),
        "ratio": statistics.median(
            mine["runs_per_s"] / theirs["runs_per_s"] for mine, theirs in zip(ours, peers, strict=True)
        ),
        "nodes_per_raw_commit": statistics.median(mine["nodes_per_s"] / mine["raw_commits_per_s"] for mine in ours),
        "idle_ms": statistics.median(mine["idle_latency_ms"]["p50"] for mine in ours),
        "peer_idle_ms": statistics.median(single),
    }


def measure_ours(name: str, arguments: argparse.Namespace, durability: str) -> dict[str, Any]:
    """One round of ``flowcraft-dagster bench`` on the kafka backend."""
    command = [sys.executable, "-m", "flowcraft_dagster.cli", "bench", "--backend", "kafka", "--json"]
    command += ["--blueprint", name, "--runs", str(arguments.runs), "--workers", str(arguments.workers)]
    command += ["--durability", durability]
    env = os.environ | {"KAFKA_PARTITIONS": str(PARTITIONS)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=env)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def print_table(figures: dict[str, dict[str, Any]]) -> None:
    """The medians, as a Markdown table."""
    print("| blueprint | runs/s | peer runs/s | ratio | nodes/s by raw commits/s | idle run, ms | peer, ms |")
    print("|---|---|---|---|---|---|---|")
    for name, row in figures.items():
        print(
            f"| {name} | {row['runs_per_s']:.0f} | {row['peer_runs_per_s']:.1f} | {row['ratio']:.1f} "
            f"| {row['nodes_per_raw_commit']:.2f} | {row['idle_ms']:.0f} | {row['peer_idle_ms']:.0f} |"
        )
    print("\nWith `segment` durability (one commit for an inline chain): ", end="")
    print(", ".join(f"{name} {row['segment_runs_per_s']:.0f} runs/s" for name, row in figures.items()))


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(figures[key] for figures in rounds))


if __name__ == "__main__":
    raise SystemExit(main())
