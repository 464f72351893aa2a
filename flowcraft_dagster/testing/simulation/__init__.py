"""Deterministic simulation: real clients, workers, commits, timers and reconciler in virtual time, from one seed.

Nothing here waits: the loop jumps to the next timer when nothing is ready, and picks by the seed which of the ready
callbacks runs next. The same seed gives the same run, to the last step.

Example:
    >>> async def main(clock, dice):
    ...     await clock.sleep(3600)
    ...     return clock.monotonic()
    >>> run_simulated(main, seed=7)
    3600.0
"""

from __future__ import annotations

from flowcraft_dagster.testing.simulation.cluster import SimulatedCluster
from flowcraft_dagster.testing.simulation.journal import Journal
from flowcraft_dagster.testing.simulation.loop import (
    SimulatedClock,
    SimulatedLoop,
    SimulationStalled,
    run_simulated,
)
from flowcraft_dagster.testing.simulation.network import Connection, Weather, connect

__all__ = [
    "SimulatedLoop",
    "SimulatedClock",
    "SimulationStalled",
    "run_simulated",
    "Weather",
    "Connection",
    "connect",
    "SimulatedCluster",
    "Journal",
]
