"""Processes that are found again, and ended, together with all that they start."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARK = "FLOWCRAFT_DEMO_MARK"
_PROC = Path("/proc")
_POLL_SECONDS = 0.1
_KILL_SECONDS = 10.0


class ProcessTreeError(Exception):
    """Processes cannot be found or do not end; the message says what to do."""


@dataclass(frozen=True)
class FoundProcess:
    """A process that carries the mark.

    Attributes:
        pid: its id.
        command: its command line, cut to fit a line.
    """

    pid: int
    command: str


class ProcessTree:
    """Starts programs, and ends them with every process below them.

    Each program gets a mark in its environment, which its children inherit. So they are found whatever they do to
    their parents, groups and sessions. Dagster leaves processes behind when only the first of them is ended.

    Attributes:
        mark: the value of the mark, different for every tree.
    """

    def __init__(self) -> None:
        if not (_PROC / "self" / "environ").exists():
            raise ProcessTreeError("this needs Linux: there is no /proc to find the started processes in")
        self.mark = uuid.uuid4().hex
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, so that a Ctrl-C of the terminal does not reach it.

        Args:
            command: the program and its arguments.
            environment: its variables, without the mark.
            folder: its working folder.
            log: file that its output is appended to.
            stdin: as for :class:`subprocess.Popen`.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**environment, _MARK: self.mark},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def find(self) -> list[FoundProcess]:
        """All processes of this tree that have not ended."""
        for process in self._started:
            # Collected, so that an ended one does not stay as a zombie.
            process.poll()
        mark = f"{_MARK}={self.mark}".encode()
        found = []
        for folder in _PROC.iterdir():
            if not folder.name.isdigit():
                continue
            try:
                # A process that has ended but was not collected yet has an empty environment.
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found.append(FoundProcess(int(folder.name), b" ".join(words).decode(errors="replace")[:150]))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                # It ended just now, or belongs to somebody else.
                continue
        return found

    def end(self, grace_seconds: float = 10.0) -> list[FoundProcess]:
        """End everything; returns when no process of this tree is left.

        The programs that were started here are asked to end; they know in which order to end their children. What is
        left after the grace is killed. A Ctrl-C meanwhile cuts the grace short.

        Args:
            grace_seconds: between SIGTERM and SIGKILL.

        Returns:
            What had to be killed.

        Raises:
            ProcessTreeError: a process outlived SIGKILL.
        """
        for process in self._started:
            if process.poll() is None:
                process.terminate()
            if process.stdin is not None:
                process.stdin.close()
        try:
            if self._is_empty_within(grace_seconds):
                self._forget()
                return []
        except KeyboardInterrupt:
            pass
        return self.kill()

    def kill(self) -> list[FoundProcess]:
        """End everything with SIGKILL, as a crash of the machine would; returns what was killed.

        Raises:
            ProcessTreeError: a process outlived it.
        """
        killed: dict[int, FoundProcess] = {}
        deadline = time.monotonic() + _KILL_SECONDS
        # Again and again: a process may have started another one since it was looked for.
        while left := self.find():
            if time.monotonic() > deadline:
                pids = " ".join(str(found.pid) for found in left)
                raise ProcessTreeError(f"processes do not end; look at them with: ps -fp {pids}")
            for found in left:
                killed[found.pid] = found
                try:
                    os.kill(found.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(_POLL_SECONDS)
        self._forget()
        return list(killed.values())

    def _is_empty_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.find():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _forget(self) -> None:
        """Let go of the started programs; all have ended."""
        for process in self._started:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(_KILL_SECONDS)
        self._started.clear()
