"""What processes use, as Linux tells it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes have used.

    Attributes:
        cpu_seconds: user and system time of all of them together, since their start.
        peak_bytes: the largest resident size any of them ever had.
    """

    cpu_seconds: float
    peak_bytes: int


def read_usage(pids: Iterable[int]) -> Usage | None:
    """What the processes have used so far; None where the system does not tell (``/proc`` is missing)."""
    ticks, peak = 0, 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return None
        # The command's name, in brackets, may hold anything.
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        peak = max(peak, int(lines["VmHWM"].split()[0]) * 1024)
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), peak)
