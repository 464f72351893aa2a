"""Running conformance cases in memory and in virtual time, so that a busy machine changes nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.testing.conformance.app import make_app
from flowcraft_dagster.testing.conformance.cases import Case
from flowcraft_dagster.testing.conformance.comparison import find_differences, observe
from flowcraft_dagster.testing.conformance.driver import CaseDriver
from flowcraft_dagster.testing.conformance.tally import RUN_PREFIX, Tally
from flowcraft_dagster.testing.simulation import SimulatedClock, run_simulated
from flowcraft_dagster.testing.simulation.loop import MAX_STEPS


def run_cases(
    cases: Sequence[Case],
    seed: int | None = None,
    *,
    options: RuntimeOptions | None = None,
    patience: float = 3600.0,
    max_steps: int = MAX_STEPS,
) -> list[str]:
    """Run cases side by side in one worker.

    Args:
        cases: what to run.
        seed: of the order of callbacks; None for asyncio's own.
        options: of the worker.
        patience: virtual seconds for a case.
        max_steps: callbacks before it is taken for an endless loop.

    Returns:
        What is not as expected, a line for each case.
    """

    async def main(clock: SimulatedClock, dice: random.Random) -> list[str]:
        tally = Tally()
        app = make_app(list(cases), tally.take_event)
        limits = options or RuntimeOptions(timer_seconds=0.01)
        async with LocalRuntime(app, limits, clock=clock, dice=dice) as local:

            async def drive(case: Case) -> str | None:
                run_id = f"{RUN_PREFIX}{case.index}"
                try:
                    result = await asyncio.wait_for(CaseDriver(local.client, case, run_id).drive(), patience)
                except (FlowcraftError, asyncio.TimeoutError) as error:
                    return f"{case.name}: {type(error).__name__} {error}"
                wrong = find_differences(case, observe(case, result, tally.read(run_id)))
                return f"{case.name}: {'; '.join(wrong)}" if wrong else None

            return [wrong for wrong in await asyncio.gather(*map(drive, cases)) if wrong is not None]

    return run_simulated(main, 0 if seed is None else seed, in_order=seed is None, max_steps=max_steps)
