"""The demo ends whatever it has started, also what hides or will not listen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.demo.processes import ProcessTree

PATIENCE = 30.0

# A program that leaves a grandchild in a session of its own, and ends when it is asked to.
LEAVES_A_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
time.sleep(600)
"""
DEAF = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("deaf").touch()
time.sleep(600)
"""


@pytest.fixture
def tree() -> Iterator[ProcessTree]:
    tree = ProcessTree()
    yield tree
    tree.kill()


def start(tree: ProcessTree, folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
    tree.start(
        [sys.executable, "-c", *arguments],
        environment=dict(os.environ),
        folder=folder,
        log=folder / "log",
        stdin=stdin,
    )


def await_true(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_grandchild_that_left_its_session_and_ignores_sigterm_is_killed(tree: ProcessTree, tmp_path: Path) -> None:
    start(tree, tmp_path, LEAVES_A_CHILD, DEAF)
    await_true((tmp_path / "deaf").exists)
    assert len(tree.find()) == 2

    (killed,) = tree.end(grace_seconds=0.5)

    assert "SIG_IGN" in killed.command
    assert tree.find() == []
    # Nobody may have collected it, but it does not run.
    stat = Path(f"/proc/{killed.pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_ends_when_asked_is_not_killed(tree: ProcessTree, tmp_path: Path) -> None:
    start(tree, tmp_path, "import time; time.sleep(600)")
    # Its standard input is closed, as that of the demo's worker is.
    start(tree, tmp_path, "import sys; sys.stdin.read()", stdin=subprocess.PIPE)
    await_true(lambda: len(tree.find()) == 2)

    assert tree.end(grace_seconds=PATIENCE) == []
    assert tree.find() == []


def test_others_are_left_alone(tree: ProcessTree, tmp_path: Path) -> None:
    other = ProcessTree()
    try:
        start(other, tmp_path, "import time; time.sleep(600)")
        await_true(other.find)
        start(tree, tmp_path, "import time; time.sleep(600)")

        tree.end(grace_seconds=PATIENCE)

        assert len(other.find()) == 1
    finally:
        other.kill()


def test_ctrl_c_cuts_the_grace_short(tree: ProcessTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tree, tmp_path, DEAF)
    await_true((tmp_path / "deaf").exists)

    def interrupt(_: float) -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("examples.demo.processes.time.sleep", interrupt)
    began = time.monotonic()

    assert len(tree.end(grace_seconds=600)) == 1
    assert time.monotonic() - began < PATIENCE
