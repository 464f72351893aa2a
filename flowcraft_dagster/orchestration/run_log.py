"""What the nodes of a workflow run do, as lines in the log of the Dagster run that waits for it."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, Final

from flowcraft_dagster.errors import RunNotFound, one_line
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.runtime.blocking_client import Client
from flowcraft_dagster.runtime.result import NodeTiming, OpenWait, RunResult

MOST_LINES: Final = 300
"""Lines about one run and its child runs."""

MOST_BEGUN: Final = 100
"""Of these, about what has begun: what ends and fails is worth more."""

MOST_DEPTH: Final = 10
"""Sub-flows in sub-flows that are followed."""


class RunLog:
    """Says once what each activation of a run and of its child runs did.

    A node of a sub-flow is named ``parentNode/childNode``, as in an answer to it.

    Args:
        client: reads the runs.
        log: the Dagster run's log.
        presenter: redacts and cuts what nodes said.
    """

    def __init__(self, client: Client, log: logging.Logger, presenter: Presenter) -> None:
        self._client = client
        self._log = log
        self._presenter = presenter
        self._said: set[tuple[str, str]] = set()
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def report(self, result: RunResult) -> None:
        """Log what is new.

        Args:
            result: the run as it is now.

        Raises:
            InfrastructureError: a child run cannot be read; the next call says what this one did not.
        """
        self._visit(result, result.run_id, "", 0)

    def _visit(self, result: RunResult, run_id: str, prefix: str, depth: int) -> None:
        errors = {error.activation: error for error in result.errors}
        for timing in result.timings:
            child = result.child_runs.get(timing.activation)
            if child is not None:
                self._visit_child(child, run_id, f"{prefix}{timing.activation}/", depth + 1)
            if timing.finished_at is not None:
                error = errors.get(timing.activation)
                told = "" if error is None else f": {error.type}: {self._presenter.show_text('message', error.message)}"
                self._say_end(prefix, timing, timing.finished_at - timing.started_at, told)
        for wait in result.waiting:
            self._say_wait(run_id, prefix, wait)
        for key in result.pending:
            self._say_begin(prefix + key)

    def _visit_child(self, child: str, run_id: str, prefix: str, depth: int) -> None:
        if child in self._ended or depth > MOST_DEPTH or len(self._said) > MOST_LINES:
            return
        try:
            result = self._client.result(child)
        except RunNotFound:
            # Asked for, but not started yet.
            return
        self._visit(result, run_id, prefix, depth)
        if result.is_final:
            self._ended.add(child)

    def _say_begin(self, name: str) -> None:
        # No more is known before it ends: a node that begins writes nothing.
        if name not in self._begun and len(self._begun) < MOST_BEGUN:
            self._begun.add(name)
            self._say(logging.INFO, name, "begins", "node '%s' runs, or waits for a worker", name)

    def _say_end(self, prefix: str, timing: NodeTiming, seconds: float, told: str) -> None:
        is_failure = timing.status == "failed"
        name = prefix + timing.activation
        action = f", action {self._presenter.show_text('action', timing.action, 80)}" if timing.action else ""
        attempt = f", attempt {timing.attempt}" if timing.attempt > 1 else ""
        verb = {"ok": "ended", "failed": "failed"}.get(timing.status, f"ended {timing.status}")
        text = "node '%s' %s after %.3f s%s%s%s"
        level = logging.WARNING if is_failure else logging.INFO
        self._say(level, name, timing.status, text, name, verb, seconds, attempt, action, told)

    def _say_wait(self, run_id: str, prefix: str, wait: OpenWait) -> None:
        name, details = prefix + wait.activation, wait.details
        if wait.kind in ("wait", "webhook"):
            event = f" for '{details['eventName']}'" if details.get("eventName") else ""
            text = "run %s waits at '%s' (%s%s); answer it with the job resume_flowcraft_run"
            self._say(logging.INFO, name, "waits", text, run_id, name, wait.kind, event)
        elif wait.kind == "subflow":
            self._say(logging.INFO, name, "open", "node '%s' goes on as run %s", name, details.get("childRunId"))
        else:
            until = datetime.fromtimestamp(details.get("wakeAt", wait.since), timezone.utc)
            text = "node '%s' %s until %s"
            verb = "sleeps" if wait.kind == "sleep" else "waits for its next attempt"
            # Each attempt has its own time.
            self._say(logging.INFO, name, f"until {until}", text, name, verb, f"{until:%Y-%m-%d %H:%M:%S} UTC")

    def _say(self, level: int, name: str, what: str, text: str, *values: Any) -> None:
        if (name, what) in self._said:
            return
        self._said.add((name, what))
        if len(self._said) <= MOST_LINES:
            # Ids of nodes and names of errors are any text; on a terminal, a log line must stay one.
            self._log.log(level, text, *(one_line(value) if isinstance(value, str) else value for value in values))
        elif len(self._said) == MOST_LINES + 1:
            self._log.info("further nodes are not listed here; see 'flowcraft-dagster status'")
