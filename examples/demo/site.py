"""Dagster and a worker over one fresh folder, with nothing else on this machine involved."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from examples.demo.dagster_api import DagsterApi, DagsterApiError
from examples.demo.processes import ProcessTree

ROOT: Final = Path(__file__).resolve().parents[2]
APP: Final = "examples.moderation:app"
START_SECONDS: Final = 240.0
"""``dagster dev`` imports Dagster five times; on a busy machine that takes a while."""

# Whoever runs the demo may have servers, a Dagster or an app of their own. Their model is used.
_FOREIGN: Final = ("FLOWCRAFT_", "DAGSTER_", "KAFKA_", "CASSANDRA_", "REDIS_")
_KEPT: Final = ("FLOWCRAFT_MODEL_", "FLOWCRAFT_LOG_LEVEL")

_INSTANCE: Final = """\
telemetry:
  enabled: false
"""


class SiteError(Exception):
    """The demonstration cannot go on; the message says why and where to look."""


class Site:
    """Starts and ends ``dagster dev`` and a worker.

    Args:
        folder: an empty folder; becomes DAGSTER_HOME, and holds runs and logs.
        port: port of the UI on 127.0.0.1.
        app: ``MODULE:ATTR``, importable from the root of the repository.

    Attributes:
        processes: everything that was started.
        environment: variables of the started processes.
        api: the UI's GraphQL.
    """

    def __init__(self, folder: Path, port: int, app: str = APP) -> None:
        self.folder = folder
        self.port = port
        self.processes = ProcessTree()
        self.api = DagsterApi(port)
        self.environment = _make_environment(folder, app)
        self._app = app
        self._dagster: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._old_log_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dagster.yaml").write_text(_INSTANCE)

    @property
    def address(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dagster_log(self) -> Path:
        """What ``dagster dev`` says."""
        return self.folder / "dagster.log"

    @property
    def worker_log(self) -> Path:
        """What the worker says."""
        return self.folder / "worker.log"

    def start(self) -> None:
        """Start both, anew where they have ended; returns at once."""
        self._old_log_bytes = self.worker_log.stat().st_size if self.worker_log.exists() else 0
        self._worker = self.processes.start(
            # Its standard input ends with this process, however that happens, and the worker with it.
            [sys.executable, "-m", "flowcraft_dagster.cli", "worker", "--app", self._app, "--end-with-stdin"],
            environment=self.environment,
            folder=ROOT,
            log=self.worker_log,
            stdin=subprocess.PIPE,
        )
        self._dagster = self.processes.start(
            [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(self.port)],
            environment=self.environment,
            folder=ROOT,
            log=self.dagster_log,
        )

    def wait_for_worker(self, seconds: float = START_SECONDS) -> None:
        """Wait until the worker takes runs. Raises SiteError."""
        self._wait_until(self._is_worker_ready, "the worker", seconds)

    def wait_for_dagster(self, seconds: float = START_SECONDS) -> None:
        """Wait until the UI answers with the code location loaded. Raises SiteError."""
        self._wait_until(self._is_loaded, "Dagster", seconds)

    def require_running(self) -> None:
        """Raises SiteError when one of the two has ended."""
        for name, process, log in (
            ("dagster dev", self._dagster, self.dagster_log),
            ("the worker", self._worker, self.worker_log),
        ):
            if process is None or process.poll() is not None:
                code = None if process is None else process.returncode
                raise SiteError(f"{name} has ended, with code {code}. The end of its log {log}:\n{_read_end(log)}")

    def _is_worker_ready(self) -> bool:
        return b" ready: backend embedded" in self.worker_log.read_bytes()[self._old_log_bytes :]

    def _is_loaded(self) -> bool:
        try:
            return self.api.is_loaded()
        except DagsterApiError as error:
            if str(error).startswith("no answer"):
                return False
            raise SiteError(str(error)) from error

    def _wait_until(self, is_there: Callable[[], bool], name: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_there():
            self.require_running()
            if time.monotonic() > deadline:
                raise SiteError(f"{name} is not ready after {seconds:.0f} s; see the logs in {self.folder}")
            time.sleep(0.2)


def choose_port(wanted: int | None) -> int:
    """A port of 127.0.0.1 for the UI.

    Args:
        wanted: this one; 0 for any; None for Dagster's usual one, or another where that is taken.

    Raises:
        SiteError: the wanted one is taken.
    """
    for port in (3000, 0) if wanted is None else (wanted,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SiteError(f"port {wanted} is taken; choose another one with --port, or 0 for a free one")


def _make_environment(folder: Path, app: str) -> Mapping[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN) or name.startswith(_KEPT)}
    return {
        **own,
        "DAGSTER_HOME": str(folder),
        "FLOWCRAFT_APP": app,
        "FLOWCRAFT_BACKEND": "embedded",
        # Logs are read while they are written.
        "PYTHONUNBUFFERED": "1",
    }


def _read_end(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
