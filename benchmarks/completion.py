"""How soon a waiting client learns that its run has ended, with Redis and without; and what Redis is asked."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.site import open_site
from flowcraft_dagster import Flow, Flowcraft, StartRequest
from flowcraft_dagster.testing.bench.measure import describe_seconds
from flowcraft_dagster.testing.bench.workloads import make_blueprint
from flowcraft_dagster.testing.conformance.nodes import nodes

RUNS: Final = 200
TARGET: Final = "benchmarks.completion:app"
NOBODY: Final = "redis://127.0.0.1:1/0"
SLOW_SECONDS: Final = 0.5
COMMANDS: Final = ("publish", "subscribe", "evalsha", "set", "sadd", "incr")
"""Announcements, listening, leases; and what a join in Redis would need."""

app = Flowcraft(
    [
        make_blueprint("diamond"),
        Flow("slow").node("a", "slow", params={"ms": SLOW_SECONDS * 1000, "value": 1}).build(),
    ],
    nodes,
)


async def compare_completion(runs: int = RUNS) -> dict[str, Any]:
    """Latency from start to result, and from the end of a run to its client's knowledge of it.

    Args:
        runs: of the diamond, one after the other; a tenth as many of one node that takes half a second.
    """
    before = await _count_commands()
    with_redis = await _measure(runs, {})
    after = await _count_commands()
    return {
        "with_redis": with_redis,
        "without_redis": await _measure(runs, {"REDIS_URL": NOBODY}),
        "commands": {name: after[name] - before[name] for name in COMMANDS},
        "runs": runs + runs // 10,
    }


async def _measure(runs: int, variables: dict[str, str]) -> dict[str, Any]:
    async with open_site(app, TARGET, 2, variables) as site:
        figures: dict[str, Any] = {}
        for name, count in (("diamond", runs), ("slow", runs // 10)):
            await site.client.wait(await site.client.start(StartRequest(name)), 60)
            whole: list[float] = []
            notice: list[float] = []
            for _ in range(count):
                began = time.perf_counter()
                result = await site.client.wait(await site.client.start(StartRequest(name)), 60)
                whole.append(time.perf_counter() - began)
                notice.append(time.time() - (result.finished_at or 0.0))
            figures[name] = {
                "start_to_result_ms": describe_seconds(whole),
                "end_to_result_ms": describe_seconds(notice),
            }
        return figures


async def _count_commands() -> dict[str, int]:
    async with Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")) as client:
        counted = await client.info("commandstats")
    return {name: int(counted.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in COMMANDS}
