"""The app that worker processes load; ``FLOWCRAFT_BENCH_BLUEPRINT`` names its blueprints, with commas between."""

from __future__ import annotations

import os
from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.testing.bench.workloads import VARIABLE, make_blueprint
from flowcraft_dagster.testing.conformance.nodes import nodes


def __getattr__(name: str) -> Any:
    if name == "app":
        return Flowcraft([make_blueprint(name) for name in os.environ.get(VARIABLE, "chain5").split(",")], nodes)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
