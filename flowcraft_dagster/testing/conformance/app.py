"""The app that worker processes load: the test nodes, and the blueprints of a file of cases.

``FLOWCRAFT_CONFORMANCE_CASES`` names the file, ``FLOWCRAFT_CONFORMANCE_RECORD`` the file for starts of nodes.
``FLOWCRAFT_CONFORMANCE_DWELL`` (seconds) makes every node take a little longer, a random time up to that, half of it
before its code and half of it between its end and the commit: so that a worker which is killed is killed in mid-node.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.engine.node import EventListener
from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.runtime.faults import FaultPoint, arm
from flowcraft_dagster.testing.conformance.cases import Case, load_cases
from flowcraft_dagster.testing.conformance.nodes import nodes
from flowcraft_dagster.testing.conformance.tally import TallyWriter

TARGET = "flowcraft_dagster.testing.conformance.app:app"
CASES = "FLOWCRAFT_CONFORMANCE_CASES"
RECORD = "FLOWCRAFT_CONFORMANCE_RECORD"
DWELL = "FLOWCRAFT_CONFORMANCE_DWELL"


def make_app(cases: list[Case], listener: EventListener) -> Flowcraft:
    """An app with the blueprints of all cases.

    Args:
        cases: from ``load_cases``.
        listener: takes every event.
    """
    app = Flowcraft(nodes=nodes, listeners=[listener])
    for case in cases:
        for blueprint in case.blueprints:
            app.add_blueprint(blueprint)
    return app


def linger(seconds: float) -> None:
    """Make every node of this process take up to ``seconds`` longer."""
    dice = random.Random(os.getpid())  # noqa: S311 - a test's dice, not a secret

    async def wait(_: FaultPoint) -> None:
        await asyncio.sleep(dice.random() * seconds / 2)

    arm(FaultPoint.BEFORE_EXECUTE, wait)
    arm(FaultPoint.AFTER_EXECUTE, wait)


def _make_from_environment() -> Flowcraft:
    for name in (CASES, RECORD):
        if not os.environ.get(name):
            raise SettingsError("is not set; the conformance runner sets it for its workers", name=name)
    if os.environ.get(DWELL):
        linger(float(os.environ[DWELL]))
    cases = [case for case in load_cases(Path(os.environ[CASES])) if isinstance(case, Case)]
    return make_app(cases, TallyWriter(Path(os.environ[RECORD])))


def __getattr__(name: str) -> Any:
    # Made when a worker asks for it: importing this module alone reads no file.
    if name == "app":
        return _make_from_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
