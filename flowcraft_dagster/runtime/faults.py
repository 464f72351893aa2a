"""Named places where a test may make a worker crash, hang or stumble. Inactive unless armed.

``FLOWCRAFT_FAULT=before_commit:kill:0.01`` arms a place in a worker process: the action and its chance per passing.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable
from enum import Enum

from flowcraft_dagster.errors import SettingsError


class FaultPoint(Enum):
    """The steps of the commit protocol between which a crash must lose nothing."""

    AFTER_CLAIM = "after_claim"
    BEFORE_EXECUTE = "before_execute"
    AFTER_EXECUTE = "after_execute"
    BEFORE_TIMERS = "before_timers"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    BEFORE_CHILD = "before_child"
    AFTER_CHILD_CREATED = "after_child_created"
    BEFORE_NOTIFY = "before_notify"
    BEFORE_PUBLISH = "before_publish"
    BEFORE_SETTLE = "before_settle"
    AFTER_START_CREATED = "after_start_created"
    AFTER_SIGNAL = "after_signal"
    AFTER_TIMER_SENT = "after_timer_sent"


Action = Callable[[FaultPoint], Awaitable[None]]
_armed: dict[FaultPoint, Action] = {}


def arm(point: FaultPoint, action: Action) -> None:
    """Run ``action`` whenever ``point`` is passed."""
    _armed[point] = action


def disarm() -> None:
    """Make every point inactive again."""
    _armed.clear()


async def pass_point(point: FaultPoint) -> None:
    """Called by the runtime at each point; does nothing unless armed."""
    if _armed:
        action = _armed.get(point)
        if action is not None:
            await action(point)


def arm_from_environment(value: str | None = None) -> None:
    """Arm the point named in ``FLOWCRAFT_FAULT``; the only action is ``kill``.

    Raises:
        SettingsError: the value is malformed.
    """
    text = os.environ.get("FLOWCRAFT_FAULT", "") if value is None else value
    if not text:
        return
    try:
        name, action, chance = text.split(":")
        point, probability = FaultPoint(name), float(chance)
    except ValueError:
        raise SettingsError("is not POINT:kill:CHANCE", name="FLOWCRAFT_FAULT") from None
    if action != "kill":
        raise SettingsError(f"knows no action {action!r}", name="FLOWCRAFT_FAULT")
    dice = random.Random(os.getpid())  # noqa: S311 - a test's dice, not a secret

    async def kill(_: FaultPoint) -> None:
        if dice.random() < probability:
            os.kill(os.getpid(), signal.SIGKILL)

    arm(point, kill)
