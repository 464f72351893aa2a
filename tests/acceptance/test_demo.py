"""``scripts/demo`` without its set-up: it shows that all is well, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.command_line import ROOT

pytestmark = [pytest.mark.slow]

COMMAND = [sys.executable, "-m", "examples.demo", "--port", "0", "--posts", "30"]
PATIENCE = 300.0


def marked(mark: str) -> list[str]:
    """Processes with a demo's mark in their environment, found without the demo's own code."""
    done = subprocess.run(
        ["sh", "-c", 'grep -lsa "$1" /proc/[0-9]*/environ', "sh", f"FLOWCRAFT_DEMO_MARK={mark}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def test_the_check_passes_and_leaves_nothing() -> None:
    done = subprocess.run(
        [*COMMAND, "--check"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE * 2
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 of 30 posts decided" in done.stdout
    assert "flowcraft/content-moderation: 30 runs, 30 completed, 0 failed" in done.stdout
    found = re.search("carries this demo's mark ([0-9a-f]{32})", done.stdout)
    assert found is not None, done.stdout
    assert marked(found.group(1)) == []


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file, subprocess.Popen(COMMAND, cwd=ROOT, stdout=file, stderr=file) as demo:
        try:
            address = await_line(demo, out, r"The Dagster UI: http://127\.0\.0\.1:([0-9]+)")
            folder = Path(await_line(demo, out, r"DAGSTER_HOME=(\S+)"))
            assert folder.is_dir()
            demo.send_signal(signal.SIGINT)
            code = demo.wait(PATIENCE)
        finally:
            if demo.poll() is None:
                # Not SIGKILL, which would leave everything it has started.
                demo.terminate()
                demo.wait(PATIENCE)

    assert code == 0, out.read_text()
    assert marked(await_line(None, out, "carries this demo's mark ([0-9a-f]{32})")) == []
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address))) != 0


def await_line(process: subprocess.Popen[bytes] | None, out: Path, pattern: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while (found := re.search(pattern, out.read_text())) is None:
        assert process is not None, out.read_text()
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.1)
    return found.group(1)
