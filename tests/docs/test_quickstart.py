"""The quickstart, step by step: its files, its commands, a worker, and the launchpad's job in Dagster."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, read_blocks

PAGE: Final = ROOT / "docs" / "quickstart.md"
FILE: Final = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
BIN: Final = Path(sys.executable).parent


@dataclass
class Project:
    """The folder of somebody who follows the quickstart."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCRAFT_", "DAGSTER_"))}
        home = str(self.folder / "dagster_home")
        return {**kept, "DAGSTER_HOME": home, "PYTHONPATH": str(ROOT), "DAGSTER_DISABLE_TELEMETRY": "yes"}

    def run(self, *words: str) -> str:
        """Run a program and return its output."""
        program = [str(BIN / "python"), "-m", "flowcraft_dagster.cli"] if words[0] == "flowcraft-dagster" else None
        program = program or [str(BIN / words[0])]
        done = subprocess.run(
            [*program, *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.environment,
            timeout=180,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name, content in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (tmp_path / "dagster_home").mkdir()
    (tmp_path / "dagster_home" / "dagster.yaml").touch()
    return Project(tmp_path)


@pytest.fixture
def worker(project: Project) -> Iterator[None]:
    """The worker of step 3, ready."""
    command = [str(BIN / "python"), "-m", "flowcraft_dagster.cli", "worker", "--app", "greetings:app"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert " ready: " in process.stdout.readline()
            yield
        finally:
            process.terminate()
            process.communicate(timeout=30)


def find_commands(beginning: str) -> list[list[str]]:
    """The command lines of the page that begin with some words."""
    lines = [line for block in read_blocks(PAGE, "sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(beginning)]


def test_the_blueprint_is_sound_and_runs_in_memory(project: Project) -> None:
    (lint,) = find_commands("flowcraft-dagster lint")
    assert "0 errors, 0 warnings" in project.run(*lint)
    (run,) = find_commands("flowcraft-dagster run")
    assert "Hello Ada" in project.run(*run)


def test_a_worker_executes_runs_and_a_wait_is_answered(project: Project, worker: None) -> None:
    first, long_one = find_commands("flowcraft-dagster start")
    assert "completed" in project.run(*first)
    project.run(*long_one)
    (resume,) = find_commands("flowcraft-dagster resume")
    for _ in range(100):
        shown = json.loads(project.run("flowcraft-dagster", "status", "long-one", "--json"))
        if shown["status"] == "awaiting":
            break
    assert [wait["path"] for wait in shown["waiting"]] == ["approve"]
    project.run(*resume)
    for _ in range(100):
        shown = json.loads(project.run("flowcraft-dagster", "status", "long-one", "--json"))
        if shown["status"] == "completed":
            break
    assert shown["outputs"]["send"] == {"sent": "Hello everybody in Oslo"}


@pytest.mark.slow
def test_dagster_loads_the_definitions_and_launches_a_run(project: Project, worker: None) -> None:
    assert find_commands("dagster dev") == [["dagster", "dev", "-f", "definitions.py"]]
    project.run("dagster", "definitions", "validate", "-f", "definitions.py")
    # The launchpad's job with the config it is filled in with.
    project.run("dagster", "job", "execute", "-f", "definitions.py", "-j", "start_flowcraft_runs")
    selection = ("--select", "key:flowcraft/greeting")
    project.run("dagster", "asset", "materialize", "-f", "definitions.py", *selection)
    (run, other) = json.loads(project.run("flowcraft-dagster", "runs", "--json"))
    assert {run["status"], other["status"]} == {"completed"}
    assert run["runId"].endswith("-greeting")
