"""Calling the command line as people do: as a process, with its output and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.acceptance.sample_app:app"
PATIENCE = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs commands over one data folder; none of them may ever show a traceback."""

    def __init__(self, home: Path, app: str | None = APP) -> None:
        self.home = home
        own = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCRAFT_", "DAGSTER_"))}
        self.environment = {**own, "FLOWCRAFT_HOME": str(home), "PYTHONPATH": str(ROOT)}
        if app is not None:
            self.environment["FLOWCRAFT_APP"] = app

    def __call__(self, *arguments: object, code: int = 0, stdin: str | None = None, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "flowcraft_dagster.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**self.environment, **environment},
            input=stdin,
            timeout=PATIENCE * 2,
        )
        shown = f"{arguments}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, shown
        assert done.returncode == code, shown
        return Outcome(done.returncode, done.stdout, done.stderr)

    def refuse(self, *arguments: object, code: int = 1, **environment: str) -> str:
        """A command that must fail with one line; returns the line."""
        outcome = self(*arguments, code=code, **environment)
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, outcome.err
        assert outcome.err.splitlines()[-1] == lines[0], outcome.err
        return lines[0]

    def worker(self, *arguments: object, app: str = APP, **environment: str) -> WorkerUnderTest:
        return WorkerUnderTest([*map(str, arguments), "--app", app], {**self.environment, **environment})


class WorkerUnderTest:
    """A worker process; use as a context manager. Its lines are kept."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "flowcraft_dagster.cli", "worker", *arguments]
        self._environment = environment
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> WorkerUnderTest:
        self._process = process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )
        for stream in (process.stdout, process.stderr):
            reader = threading.Thread(target=lambda s=stream: self.lines.extend(line.rstrip("\n") for line in s))
            reader.start()
            self._readers.append(reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        assert not any("Traceback" in line for line in self.lines), "\n".join(self.lines)
        return code

    def expect(self, text: str, times: int = 1) -> str:
        """The line with ``text`` in it, once it is there."""

        def found() -> list[str]:
            return [line for line in list(self.lines) if text in line]

        await_true(lambda: len(found()) >= times, lambda: f"no {text!r} in:\n" + "\n".join(self.lines))
        return found()[times - 1]


def await_true(is_true: Callable[[], object], explain: Callable[[], str] = lambda: "it never came true") -> None:
    """Return once it is true; another process makes it so."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)
