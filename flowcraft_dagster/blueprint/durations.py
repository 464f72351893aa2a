"""How long a ``sleep`` takes, as a blueprint says it."""

from __future__ import annotations

import re
from typing import Any, Final

LONGEST_SECONDS: Final = 100 * 365.25 * 86400
"""A hundred years: stores and calendars hold no moment that is much further away."""

_TEXT = re.compile(r"([0-9]{1,12})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_duration(duration: Any) -> float | None:
    """Seconds of a duration.

    Args:
        duration: a number of milliseconds, or text such as ``5m`` with s, m, h or d.

    Returns:
        The seconds; None when it is neither, negative, or above :data:`LONGEST_SECONDS`.

    Example:
        >>> read_duration("5m"), read_duration(1500), read_duration("soon")
        (300.0, 1.5, None)
    """
    if isinstance(duration, str):
        match = _TEXT.fullmatch(duration)
        seconds = float("nan") if match is None else float(int(match.group(1)) * _UNIT_SECONDS[match.group(2)])
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        # A JSON number may be too large for a division.
        seconds = duration / 1000 if duration <= LONGEST_SECONDS * 1000 else float("nan")
    else:
        return None
    return seconds if 0 <= seconds <= LONGEST_SECONDS else None
