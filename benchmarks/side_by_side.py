"""Ours and the peer's in turn, on the same servers, with the bare client's rate in between."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import moderation
from benchmarks.peer import install_peer, measure_peer, run_peer_workers
from benchmarks.site import PARTITIONS
from flowcraft_dagster.testing.bench.measure import BenchOptions, measure
from flowcraft_dagster.testing.bench.workloads import Workload, find_workload

BLUEPRINTS: Final = {"chain5": "chain5", "diamond": "diamond", "fan50": "fan50", "moderation": "400"}
"""Our name of each workload, and the peer's."""

SINGLE_RUNS = 3
WARM_RUNS = 2000


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        blueprints: names of ``BLUEPRINTS``.
        rounds: of each side, in turn.
        runs: ours in a round.
        peer_runs: the peer's in a round.
        workers: processes of each side.
        shared: folder with the peer and the upstream blueprints.
    """

    blueprints: tuple[str, ...]
    rounds: int
    runs: int
    peer_runs: int
    workers: int
    shared: Path


def compare(plan: Plan) -> dict[str, Any]:
    """Measure all blueprints of a plan; figures by blueprint, medians over the rounds."""
    os.environ[moderation.VARIABLE] = str((plan.shared / "data" / moderation.FOLDER).resolve())
    os.environ["KAFKA_PARTITIONS"] = str(PARTITIONS)
    with tempfile.TemporaryDirectory() as folder:
        programs = install_peer(plan.shared, Path(folder))
        # A Java server gets faster for minutes: neither side is to be measured on a cold one.
        _tell("warming the servers up")
        for name in ("chain5", *plan.blueprints):
            _measure_ours(name, WARM_RUNS, plan.workers, "node", Path(folder))
            _measure_bare_client()
        return {name: _compare_blueprint(name, plan, programs, Path(folder)) for name in plan.blueprints}


def _compare_blueprint(name: str, plan: Plan, programs: Path, folder: Path) -> dict[str, Any]:
    ours: list[dict[str, Any]] = []
    segment: list[dict[str, Any]] = []
    peers: list[dict[str, float]] = []
    single: list[float] = []
    bare: list[float] = []
    for number in range(plan.rounds):
        bare.append(_measure_bare_client())
        ours.append(_measure_ours(name, plan.runs, plan.workers, "node", folder))
        bare.append(_measure_bare_client())
        segment.append(_measure_ours(name, plan.runs, plan.workers, "segment", folder))
        topic = f"peer-{os.getpid()}-{name}-{number}"
        with run_peer_workers(programs, topic, plan.workers):
            for _ in range(SINGLE_RUNS):
                single.append(measure_peer(programs, topic, BLUEPRINTS[name], 1, 60)["seconds"] * 1000)
            peers.append(measure_peer(programs, topic, BLUEPRINTS[name], plan.peer_runs, 180))
        _tell(f"{name}: round {number + 1} of {plan.rounds} done")
    ratios = [mine["runs_per_s"] / theirs["runs_per_s"] for mine, theirs in zip(ours, peers, strict=True)]
    by_bare = [mine["nodes_per_s"] / statistics.mean(bare[2 * i : 2 * i + 2]) for i, mine in enumerate(ours)]
    return {
        "runs_per_s": _median(ours, "runs_per_s"),
        "nodes_per_s": _median(ours, "nodes_per_s"),
        "peer_runs_per_s": _median(peers, "runs_per_s"),
        "ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "bare_commits_per_s": statistics.median(bare),
        "nodes_per_bare_commit": statistics.median(by_bare),
        "lowest_nodes_per_bare_commit": min(by_bare),
        "idle_ms": statistics.median(mine["idle_latency_ms"]["p50"] for mine in ours),
        "peer_idle_ms": statistics.median(single),
        "worker_cpu_ms_per_node": _median(ours, "worker_cpu_ms_per_node"),
        "segment_runs_per_s": _median(segment, "runs_per_s"),
        "rounds": {"ours": ours, "segment": segment, "peer": peers, "bare": bare, "peer_single_ms": single},
    }


def _find_workload(name: str) -> Workload:
    if name != "moderation":
        return find_workload(name)
    app = moderation.make_app(Path(os.environ[moderation.VARIABLE]))
    return Workload(name, "benchmarks.moderation:app", app, "400", [moderation.CONTEXT])


def _measure_ours(name: str, runs: int, workers: int, durability: str, folder: Path) -> dict[str, Any]:
    options = BenchOptions(backend="kafka", runs=runs, workers=workers, folder=folder, durability=durability)
    return asyncio.run(measure(_find_workload(name), options, lambda _: None))


def _measure_bare_client() -> float:
    """In a process of its own, as the workers are."""
    command = [sys.executable, "-m", "benchmarks.bare_client"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return float(json.loads(done.stdout)["commits_per_s"])


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(figures[key] for figures in rounds))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
