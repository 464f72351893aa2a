"""How soon a waiting client learns that its run has ended, with Redis and without."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.site import open_site
from flowcraft_dagster import Flow, Flowcraft, StartRequest
from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.testing.bench.measure import describe_seconds
from flowcraft_dagster.testing.conformance.nodes import nodes

RUNS: Final = 200
TARGET: Final = "benchmarks.completion:app"
NOBODY: Final = "redis://127.0.0.1:1/0"
MILLISECONDS: Final = {"short": 0, "half a second": 500}

app = Flowcraft(
    [Flow(name).node("a", "slow", params={"ms": ms, "value": 1}).build() for name, ms in MILLISECONDS.items()], nodes
)


async def compare_completion(runs: int = RUNS) -> dict[str, Any]:
    """Latency from ``start`` to the result, and from the end of a run to its client; and what Redis was asked."""
    with_redis = await _measure(runs, {})
    return {"with_redis": with_redis, "without_redis": await _measure(runs, {"REDIS_URL": NOBODY})}


async def _measure(runs: int, variables: dict[str, str]) -> dict[str, Any]:
    async with open_site(app, TARGET, 1, variables) as site:
        figures: dict[str, Any] = {}
        for name in MILLISECONDS:
            count = runs if MILLISECONDS[name] == 0 else runs // 10
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
        coordination = site.client.backend.coordination
        asked = dict(coordination.operations) if isinstance(coordination, RedisCoordination) else {}
        return {**figures, "client_operations": asked}
