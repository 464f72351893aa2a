"""Processes that outlive the command that started them, known again by pid and start time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from stack_servers.errors import StackError

_POLL_SECONDS = 0.05


def identity(pid: int) -> str | None:
    """What tells this process from a later one with the same pid; None when it has ended.

    The machine's boot and the process's start, counted in clock ticks since that boot. A process that
    has ended but was not collected by its parent yet counts as ended.

    Raises:
        StackError: this system has no ``/proc``.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError as error:
        message = "running servers without Docker needs Linux (/proc is missing); start a Docker engine instead"
        raise StackError(message) from error
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may hold anything, so count from its end.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}/{start_ticks}"


def is_running(pid: int, known_identity: str) -> bool:
    """Whether that very process still runs."""
    return identity(pid) == known_identity


def spawn(command: Sequence[str], log: Path, folder: Path) -> tuple[int, str]:
    """Start a program in a session of its own, so that a Ctrl-C of the caller does not reach it.

    Args:
        command: the program and its arguments.
        log: file that its output is appended to.
        folder: its working folder.

    Returns:
        Its pid and its identity.

    Raises:
        StackError: it ended at once.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )
    known = identity(child.pid)
    if known is None:
        message = f"{command[0]} ended at once; see {log}"
        raise StackError(message)
    # It is meant to go on when this command ends: keep Popen from warning about that.
    child.returncode = 0
    return child.pid, known


def stop(pid: int, known_identity: str, *, grace_seconds: float) -> None:
    """End that very process, and return when it has ended.

    Args:
        pid: its pid.
        known_identity: its identity; a later process with the same pid is left alone.
        grace_seconds: time between SIGTERM and SIGKILL; 0 sends SIGKILL at once.

    Raises:
        StackError: it outlived SIGKILL by ten seconds.
    """
    if grace_seconds > 0:
        # SIGCONT, so that a process that was stopped by SIGSTOP sees the SIGTERM.
        _send(pid, known_identity, signal.SIGTERM)
        _send(pid, known_identity, signal.SIGCONT)
        if _wait_end(pid, known_identity, grace_seconds):
            return
    _send(pid, known_identity, signal.SIGKILL)
    if not _wait_end(pid, known_identity, 10):
        message = f"process {pid} does not end"
        raise StackError(message)


def _send(pid: int, known_identity: str, signal_number: signal.Signals) -> None:
    if is_running(pid, known_identity):
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            return


def _wait_end(pid: int, known_identity: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid, known_identity):
        _collect(pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    _collect(pid)
    return True


def _collect(pid: int) -> None:
    """Take the end of an own child, so that no zombie of it stays while this command runs on."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
