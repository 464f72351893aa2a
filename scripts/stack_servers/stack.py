"""What the commands do, for servers of either mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stack_servers import compose, local, record
from stack_servers.errors import StackError
from stack_servers.kinds import KINDS
from stack_servers.record import Record

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ServerStatus:
    """What one server does now.

    Attributes:
        name: the kind of server.
        mode: ``local`` or ``compose``.
        port: the port on 127.0.0.1 that clients connect to.
        pid: its process, unless it runs in a container.
        running: whether its process or container runs.
        healthy: whether it answered a protocol request.
        log: the file with its output, unless it runs in a container.
    """

    name: str
    mode: str
    port: int
    pid: int | None
    running: bool
    healthy: bool
    log: str | None


class Stack:
    """The servers whose records lie in one data folder.

    Args:
        data: the folder; two stacks need two folders.
        report: called with one line at a time about what goes on.
        timeout_seconds: how long a server may take until it answers.
    """

    def __init__(self, data: Path, report: Callable[[str], None], *, timeout_seconds: float = 180.0) -> None:
        self.data = data.resolve()
        self._report = report
        self._timeout_seconds = timeout_seconds

    def up(self, wanted: Mapping[str, int | None], *, docker: bool = True) -> None:
        """Start servers and wait until each answers. Those that run already are left as they are.

        Args:
            wanted: port for clients by server; None means that of its record or the usual one, 0 any free one.
            docker: whether new servers run in containers where a Docker engine answers.

        Raises:
            StackError: a server cannot start. Those that this call started are stopped again.
        """
        begin = time.monotonic()
        with self._exclusive(wanted):
            known = {name: record.load(self.data, name) for name in wanted}
            ports = {name: self._port(name, known[name], port) for name, port in wanted.items()}
            new = {name: port for name, port in ports.items() if known[name] is None}
            started = self._create(new, docker=docker)
            started += [name for name, old in known.items() if old is not None and self._start(old)]
            self._await(list(wanted), started, begin)

    def down(self, *, delete: bool) -> None:
        """End every server of this stack; with ``delete`` what they stored, too."""
        known = self._records()
        with self._exclusive(known):
            if any(old.mode == "compose" for old in known.values()):
                compose.down(self.data, delete=delete)
            for name, old in known.items():
                if old.mode == "local":
                    local.stop(self.data, old)
                self._report(f"{name} stopped")
                if delete:
                    local.delete_data(self.data, name)
                    record.forget(self.data, name)

    def start(self, names: list[str]) -> None:
        """Start servers of this stack again, and wait until each answers."""
        begin = time.monotonic()
        with self._exclusive(names):
            started = [name for name in names if self._start(self._known(name))]
            self._await(names, started, begin)

    def stop(self, names: list[str], *, at_once: bool = False) -> None:
        """Stop servers and wait for their end; ``at_once`` with SIGKILL, as a crash would."""
        with self._exclusive(names):
            for name in names:
                self._stop(self._known(name), at_once=at_once)

    def restart(self, names: list[str]) -> None:
        """Stop servers, start them again, and wait until each answers."""
        self.stop(names)
        self.start(names)

    def status(self) -> list[ServerStatus]:
        """What each server of this stack does now."""
        return [self._status(known) for known in self._records().values()]

    def environment(self) -> dict[str, str]:
        """The variables that tell clients where the servers are."""
        variables: dict[str, str] = {}
        for name, known in self._records().items():
            variables |= KINDS[name].environment(known.port)
        return variables

    def _port(self, name: str, known: Record | None, wanted: int | None) -> int:
        if known is None:
            return KINDS[name].default_port if wanted is None else wanted
        if wanted not in (None, 0, known.port):
            message = f"{name} of this stack has port {known.port}; for another one: down --delete, then up"
            raise StackError(message)
        return known.port

    def _create(self, wanted: Mapping[str, int], *, docker: bool) -> list[str]:
        """Choose ports for new servers, write their records and start them; their names."""
        if not wanted:
            return []
        mode = "compose" if docker and compose.engine_answers() else "local"
        ports = local.choose_ports(wanted)
        new = [Record(name, mode, ports[name]) for name in wanted]
        for fresh in new:
            record.save(self.data, fresh)
        try:
            self._launch(new)
        except BaseException:
            self._undo(list(wanted), forget=True)
            raise
        return list(wanted)

    def _launch(self, servers: list[Record]) -> None:
        for server in servers:
            self._report(f"{server.name} starts on port {server.port}")
            if server.mode == "local":
                local.start(self.data, server)
        contained = [server.name for server in servers if server.mode == "compose"]
        if contained:
            compose.write_override(self.data, self._records().values())
            compose.start(self.data, contained)

    def _start(self, known: Record) -> bool:
        """Start a known server unless it runs; whether it was started."""
        if self._is_running(known):
            return False
        self._launch([known])
        return True

    def _stop(self, known: Record, *, at_once: bool = False) -> None:
        if known.mode == "compose":
            compose.stop(self.data, known.name, at_once=at_once)
        else:
            local.stop(self.data, known, at_once=at_once)
        self._report(f"{known.name} {'killed' if at_once else 'stopped'}")

    def _is_running(self, known: Record) -> bool:
        return compose.is_running(self.data, known.name) if known.mode == "compose" else local.is_running(known)

    def _await(self, names: list[str], started: list[str], begin: float) -> None:
        """Wait until servers answer; on failure or Ctrl-C stop those that were just started."""
        waiting = list(names)
        try:
            while waiting:
                for name in [name for name in waiting if KINDS[name].answers(self._known(name).port)]:
                    waiting.remove(name)
                    self._report(f"{name} answers after {time.monotonic() - begin:.1f} s")
                self._check(waiting, time.monotonic() - begin)
                time.sleep(_POLL_SECONDS if waiting else 0)
        except BaseException:
            self._undo(started, forget=False)
            raise

    def _check(self, waiting: list[str], seconds: float) -> None:
        for name in waiting:
            known = self._known(name)
            ended = known.mode == "local" and not local.is_running(known)
            if ended or seconds > self._timeout_seconds:
                what = "ended" if ended else f"does not answer after {seconds:.0f} s"
                message = f"{name} {what}. The end of its output:\n{self._last_output(known)}"
                raise StackError(message)

    def _last_output(self, known: Record) -> str:
        if known.mode == "compose":
            return compose.last_output(self.data, known.name)
        text = local.log_file(self.data, known.name).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-30:])

    def _undo(self, names: list[str], *, forget: bool) -> None:
        for name in names:
            known = record.load(self.data, name)
            if known is not None and self._is_running(known):
                self._stop(known)
            if forget:
                record.forget(self.data, name)

    def _status(self, known: Record) -> ServerStatus:
        running = self._is_running(known)
        log = None if known.mode == "compose" else str(local.log_file(self.data, known.name))
        healthy = running and KINDS[known.name].answers(known.port)
        return ServerStatus(known.name, known.mode, known.port, known.pid, running, healthy, log)

    def _known(self, name: str) -> Record:
        known = record.load(self.data, name)
        if known is None:
            message = f"the stack in {self.data} has no {name}; start it with: up --with {name}"
            raise StackError(message)
        return known

    def _records(self) -> dict[str, Record]:
        found = {name: record.load(self.data, name) for name in KINDS}
        return {name: known for name, known in found.items() if known is not None}

    def _exclusive(self, names: Mapping[str, object] | list[str]) -> ExitStack:
        locks = ExitStack()
        # One order for all commands, so that two of them never wait for each other.
        for name in sorted(names):
            locks.enter_context(record.exclusive(self.data, name))
        return locks
