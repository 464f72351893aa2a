"""What nodes do is seen in the Dagster run's log while it waits, with child runs, redacted, and not without end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flowcraft_dagster.orchestration import run_log
from flowcraft_dagster.orchestration.following import follow_run
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.run_log import RunLog
from flowcraft_dagster.runtime.result import RunResult
from tests.dagster.conftest import Site, WorkerThread

PATIENCE_SECONDS = 60.0


class Log(logging.Handler):
    """Lines that somebody can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self._news = threading.Condition()

    @property
    def logger(self) -> logging.Logger:
        """A logger of its own that writes here."""
        logger = logging.Logger("followed")
        logger.addHandler(self)
        return logger

    @property
    def text(self) -> list[str]:
        return [text for _, text in self.lines]

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self.lines.append((record.levelname, record.getMessage()))
            self._news.notify_all()

    def await_line(self, words: str) -> None:
        def is_there() -> bool:
            return any(words in line for line in self.text)

        with self._news:
            assert self._news.wait_for(is_there, PATIENCE_SECONDS), self.lines


class Following(threading.Thread):
    """Follows a run, as the step of a Dagster run does."""

    def __init__(self, site: Site, run_id: str, log: Log) -> None:
        super().__init__()
        self.result: RunResult | None = None
        self._follow: Callable[[], RunResult] = lambda: follow_run(
            site.client, run_id, PATIENCE_SECONDS, log.logger, Presenter()
        )

    def run(self) -> None:
        self.result = self._follow()


@pytest.mark.parametrize(
    ("blueprint_id", "path", "ends"),
    [
        ("waits", "step1", ["step1", "step2"]),
        ("asks in a sub-flow", "ask/step1", ["ask/step1", "ask/step2", "ask"]),
    ],
)
def test_lines_come_while_the_run_waits(
    site: Site, worker: WorkerThread, blueprint_id: str, path: str, ends: list[str]
) -> None:
    run_id, log = site.client.start(blueprint_id, {"n": 1}), Log()
    following = Following(site, run_id, log)
    following.start()
    log.await_line(f"run {run_id} waits at '{path}' (wait for 'approval'); answer it with")
    assert not site.client.status(run_id).is_final

    site.client.resume(run_id, path, output=21)
    following.join(PATIENCE_SECONDS)
    assert following.result is not None
    assert following.result.status == "completed"
    assert [line.split("'")[1] for line in log.text if "' ended after " in line] == ends
    # Each thing is said once, however often the run is looked at.
    assert len(set(log.text)) == len(log.text)


def test_a_sub_flow_that_ends_at_once_is_told_of_too(site: Site, worker: WorkerThread) -> None:
    run_id, log = site.client.start("parent", {"n": 3}), Log()
    follow_run(site.client, run_id, PATIENCE_SECONDS, log.logger, Presenter())

    ended = [line.split("'")[1] for line in log.text if "' ended after " in line]
    assert ended == ["child/step1", "child/step2", "child"]


def test_a_failed_node_is_a_warning_with_its_error_redacted(site: Site, worker: WorkerThread) -> None:
    run_id, log = site.client.start("fails", {"n": "password=hunter2"}), Log()
    follow_run(site.client, run_id, PATIENCE_SECONDS, log.logger, Presenter())

    # On a busy machine it is also seen while it runs.
    ((level, line),) = [told for told in log.lines if "runs, or waits" not in told[1]]
    assert level == "WARNING"
    assert line.startswith("node 'step1' failed after 0.")
    assert line.endswith("s: ValueError: cannot read password=[redacted]")


def test_a_node_that_takes_long_is_told_of_when_it_begins(site: Site, worker: WorkerThread) -> None:
    run_id, log = site.client.start("lingers", {"n": 1}), Log()
    following = Following(site, run_id, log)
    following.start()
    log.await_line("node 'step1' runs, or waits for a worker")
    assert site.client.result(run_id).pending == ("step1",)

    site.client.cancel(run_id)
    following.join(PATIENCE_SECONDS)
    assert sum("runs, or waits" in line for line in log.text) == 1
    assert site.client.result(run_id).pending == ()


def test_an_id_of_many_lines_is_told_of_in_one(site: Site) -> None:
    run_id, log = site.client.start("400", {"n": 1}), Log()
    result = replace(site.client.result(run_id), pending=("a\nWARNING all is lost\x1b[2J",))
    RunLog(site.client, log.logger, Presenter()).report(result)

    assert [text.partition(" runs")[0] for text in log.text] == [r"node 'a\nWARNING all is lost\x1b[2J'"]


def test_what_begins_does_not_fill_the_log(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "MOST_BEGUN", 2)
    # Nobody works, so all of them stay where they are.
    run_ids, log = [site.client.start("400", {"n": n}) for n in range(4)], Log()
    shown = RunLog(site.client, log.logger, Presenter())
    for run_id in run_ids:
        result = site.client.result(run_id)
        shown.report(replace(result, pending=(f"{run_id}/step1",)))

    assert len(log.lines) == 2


def test_a_long_run_does_not_fill_the_log(site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "MOST_LINES", 1)
    run_id, log = site.client.start("parent", {"n": 3}), Log()
    result: Any = site.client.wait(run_id, PATIENCE_SECONDS)
    RunLog(site.client, log.logger, Presenter()).report(result)

    assert len(log.lines) == 2
    assert log.text[1] == "further nodes are not listed here; see 'flowcraft-dagster status'"
