"""The figures as Markdown, as they stand in ``docs/benchmarks.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def write_comparison(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Ours and the peer's, a row for each blueprint."""
    head = [
        "blueprint",
        "runs/s",
        "peer, runs/s",
        "ratio (lowest)",
        "nodes/s",
        "bare client, commits/s",
        "nodes by bare commit",
        "one idle run, ms",
        "peer, ms",
        "`segment`, runs/s",
    ]
    return _write_table(
        head,
        (
            [
                name,
                f"{row['runs_per_s']:.0f}",
                f"{row['peer_runs_per_s']:.1f}",
                f"{row['ratio']:.1f} ({row['lowest_ratio']:.1f})",
                f"{row['nodes_per_s']:.0f}",
                f"{row['bare_commits_per_s']:.0f}",
                f"{row['nodes_per_bare_commit']:.2f}",
                f"{row['idle_ms']:.0f}",
                f"{row['peer_idle_ms']:.0f}",
                f"{row['segment_runs_per_s']:.0f}",
            ]
            for name, row in figures.items()
        ),
    )


def write_sizes(figures: Mapping[str, Any]) -> str:
    """Cost per node by the size of the run and of its context."""
    names = list(figures["ms_per_node"])
    rows = [
        ["time, ms", *(f"{figures['ms_per_node'][name]:.2f}" for name in names)],
        ["worker CPU, ms", *(f"{figures['cpu_ms_per_node'][name]:.2f}" for name in names)],
    ]
    ratios = (
        f"2,000 nodes against 20: {figures['long_by_short']:.2f} (CPU {figures['long_by_short_cpu']:.2f}); "
        f"400 KB against none: {figures['ballast_by_empty']:.2f} (CPU {figures['ballast_by_empty_cpu']:.2f})."
    )
    return f"{_write_table(['per node', *(f'chain of {name}' for name in names)], rows)}\n\n{ratios}"


def write_fields(figures: Mapping[str, Any]) -> str:
    """Single figures, a row each."""
    return _write_table(
        ["figure", "value"], ([name.replace("_", " "), _show(value)] for name, value in figures.items())
    )


def write_completion(figures: Mapping[str, Any]) -> str:
    """Latency with Redis and without, and what Redis was asked."""
    rows = []
    for name in figures["with_redis"]:
        for kind in figures["with_redis"][name]:
            row = [name, kind.replace("_", " ")]
            for how in ("with_redis", "without_redis"):
                row += [f"{value:.1f}" for value in figures[how][name][kind].values()]
            rows.append(row)
    head = ["run", "", "with Redis: p50", "p99", "without: p50", "p99"]
    asked = ", ".join(f"{count} {name}" for name, count in figures["commands"].items())
    return f"{_write_table(head, rows)}\n\nCommands that Redis was given for {figures['runs']} runs: {asked}."


def _write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _show(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
