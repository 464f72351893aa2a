"""``scripts/chaos`` in small: servers go away under running workflows, and every run ends once and rightly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "chaos"
RUNS = 60

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.cassandra,
    pytest.mark.redis,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


def test_every_run_ends_once_and_rightly_while_servers_are_restarted() -> None:
    words = ["--runs", str(RUNS), "--dwell", "5", "--pause", "1", "--json"]
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    counts = {figures[name] for name in ("runs", "ended", "completed", "right", "ended_once")}
    assert counts == {RUNS}
    assert figures["failed"] == 0
    # The servers did go away under running workflows.
    assert [trouble["what"].split()[0] for trouble in figures["troubles"]] == ["kafka", "cassandra", "redis"]
    assert figures["troubles"][1]["seconds"] > 10
    assert all(trouble["live_before"] > 0 for trouble in figures["troubles"])


def test_the_script_says_what_it_does() -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "--runs" in done.stdout
    assert "--json" in done.stdout
