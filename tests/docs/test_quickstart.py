"""The quickstart, step by step, as somebody follows it who has an empty folder: its commands, its files, the UI."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from examples.demo.dagster_api import DagsterApi, DagsterApiError, Materialization
from examples.demo.processes import ProcessTree
from examples.demo.site import choose_port
from tests.docs.pages import ROOT
from tests.docs.terminals import Terminal, await_event

PAGE: Final = ROOT / "docs" / "quickstart.md"
STEP: Final = re.compile(r"(?:^`([\w./]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOREIGN: Final = ("FLOWCRAFT_", "DAGSTER_", "KAFKA_", "CASSANDRA_", "REDIS_", "PYTHON", "VIRTUAL_ENV")
SOURCES: Final = ("flowcraft_dagster", "pyproject.toml", "README.md", "LICENSE")
NEW_TERMINAL: Final = "source .venv/bin/activate"
STAYS: Final = ("flowcraft-dagster worker", "dagster dev")
INSTALL_SECONDS: Final = 900.0
PATIENCE_SECONDS: Final = 240.0
ASSET: Final = ("flowcraft", "greeting")

LOCATIONS: Final = "query { workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
LAUNCH: Final = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""


def read_files() -> dict[str, str]:
    """The files of the page, by name."""
    return {name: body for name, _, body in STEP.findall(PAGE.read_text(encoding="utf-8")) if name}


def test_the_blueprint_is_sound_and_runs_in_memory(tmp_path: Path) -> None:
    for name, body in read_files().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(body, encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for command, words in (("lint", "0 errors, 0 warnings"), ("run", "Hello Ada")):
        (line,) = re.findall(rf"^flowcraft-dagster {command} .*$", page, re.MULTILINE)
        done = subprocess.run(
            [sys.executable, "-m", "flowcraft_dagster.cli", *shlex.split(line)[1:]],
            cwd=tmp_path,
            env={**make_environment(tmp_path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


def make_environment(folder: Path) -> dict[str, str]:
    """Variables of somebody who has Python and nothing of this project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    interpreter = programs / "python3"
    # Outside the environment in which this test runs: nothing of it may be found.
    interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(os.path.realpath(sys.executable))} "$@"\n')
    interpreter.chmod(0o755)
    mine = str(Path(sys.executable).parent)
    path = [place for place in kept.get("PATH", "").split(os.pathsep) if place != mine]
    return {**kept, "PATH": os.pathsep.join([str(programs), *path]), "DAGSTER_DISABLE_TELEMETRY": "yes"}


@pytest.fixture
def processes() -> Iterator[ProcessTree]:
    processes = ProcessTree()
    try:
        yield processes
    finally:
        processes.end()
        assert processes.find() == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_page_leads_from_pip_install_to_a_blueprint_in_the_ui(tmp_path: Path, processes: ProcessTree) -> None:
    walk = Walk(tmp_path, processes)
    for name, language, body in STEP.findall(PAGE.read_text(encoding="utf-8")):
        if name:
            walk.write(name, body)
        elif language == "sh":
            walk.follow(body)
    walk.look_at_the_ui()
    walk.answer_the_run_that_waits()
    walk.leave()


class Walk:
    """Somebody who follows the page."""

    def __init__(self, folder: Path, processes: ProcessTree) -> None:
        self._folder = folder
        self._project = folder / "greetings"
        self._processes = processes
        self._api = DagsterApi(choose_port(0))
        self._environment = {
            **make_environment(folder),
            # The page says `pip install flowcraft-dagster`: this is where it is found.
            "PIP_FIND_LINKS": f"{make_wheel(folder).parent} {os.environ.get('PIP_FIND_LINKS', '')}",
            # Port 3000 may be taken here.
            "DAGSTER_CLI_DEV_PORT": str(self._api.port),
        }
        self._terminals = [self._open(folder)]
        self._last_block = ""

    def write(self, name: str, body: str) -> None:
        """A file of the page."""
        path = self._project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")

    def follow(self, block: str) -> None:
        """A block of commands of the page."""
        self._last_block = block
        first, *_, last = block.splitlines()
        if first == NEW_TERMINAL:
            self._terminals.append(self._open(self._project))
        if last.startswith(STAYS):
            self._terminals[-1].type(block)
            self._await_program(last)
        elif "resume" in block:
            # A person looks whether the run waits; see answer_the_run_that_waits.
            return
        else:
            self._terminals[0].run(block, INSTALL_SECONDS)

    def look_at_the_ui(self) -> None:
        """The run of the terminal is on the blueprint's asset, and Materialize adds one."""
        assert "completed" in self._terminals[0].seen
        events = await_event(lambda: self._read_events() or None, PATIENCE_SECONDS, self._terminals[2].tail)
        assert [event.metadata["completed"] for event in events] == [1]
        run_id = self._launch("__ASSET_JOB", assetSelection=[{"path": list(ASSET)}])
        events = await_event(
            lambda: [event for event in self._read_events() if event.run_id == run_id] or None,
            PATIENCE_SECONDS,
            lambda: f"{run_id}: {self._api.run_status(run_id)}",
        )
        assert events[0].metadata["run_id"] == f"{run_id}-greeting"
        assert events[0].metadata["outputs"]["send"] == {"sent": "Hello Ada"}
        job = self._launch("start_flowcraft_runs")
        self._await_success(job)

    def answer_the_run_that_waits(self) -> None:
        """The last block of the page, with a look at the run between its commands."""
        start, status, resume, again = self._last_block.splitlines()
        assert (status, resume.split()[1]) == (again, "resume")
        self._terminals[0].run(start, PATIENCE_SECONDS)
        self._await_status(status, "awaiting")
        self._terminals[0].run(resume, PATIENCE_SECONDS)
        assert "Hello everybody in Oslo" in self._await_status(again, "completed")

    def leave(self) -> None:
        """Ctrl-C in the terminals of Dagster and the worker."""
        for terminal in reversed(self._terminals):
            terminal.interrupt()

    def _open(self, folder: Path) -> Terminal:
        number = len(list(self._folder.glob("terminal-*.log"))) + 1
        return Terminal(self._processes, folder, self._environment, self._folder / f"terminal-{number}.log")

    def _await_program(self, command: str) -> None:
        if command.startswith("dagster"):
            await_event(self._is_loaded, PATIENCE_SECONDS, self._terminals[-1].tail)
        else:
            self._terminals[-1].await_text(" ready: ", PATIENCE_SECONDS)

    def _is_loaded(self) -> bool | None:
        try:
            entries = self._api.ask(LOCATIONS, {}).get("locationEntries") or []
        except DagsterApiError:
            return None
        return [entry["loadStatus"] for entry in entries] == ["LOADED"] or None

    def _read_events(self) -> list[Materialization]:
        return self._api.materializations(ASSET)

    def _launch(self, job: str, **more: Any) -> str:
        place = {"repositoryLocationName": "definitions.py", "repositoryName": "__repository__"}
        parameters = {"selector": {**place, "jobName": job, **more}, "mode": "default"}
        answer = self._api.ask(LAUNCH, {"parameters": parameters})
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def _await_success(self, run_id: str) -> None:
        def has_ended() -> str | None:
            status = self._api.run_status(run_id)
            return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

        assert await_event(has_ended, PATIENCE_SECONDS, lambda: f"run {run_id} goes on") == "SUCCESS"

    def _await_status(self, command: str, status: str) -> str:
        def look() -> str | None:
            shown = self._terminals[0].run(command, PATIENCE_SECONDS)
            return shown if re.search(rf"^ *status +{status}", shown, re.MULTILINE) else None

        return await_event(look, PATIENCE_SECONDS, self._terminals[0].tail)


def make_wheel(folder: Path) -> Path:
    """Build this checkout."""
    sources, wheels = folder / "sources", folder / "wheels"
    sources.mkdir()
    for name in SOURCES:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("*.whl")
    return wheel
