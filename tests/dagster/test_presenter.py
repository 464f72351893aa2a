"""What runs hold is shown redacted and within limits, wherever it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.orchestration.figures import sum_up
from flowcraft_dagster.orchestration.presenter import MOST_ROWS, Presenter, hide_secrets, measure_nodes
from flowcraft_dagster.runtime.result import NodeTiming, RunResult
from tests.dagster.conftest import Site, WorkerThread


def make_result(**more: Any) -> RunResult:
    given: dict[str, Any] = {
        "run_id": "r1",
        "blueprint_id": "b",
        "status": "failed",
        "reason": None,
        "context": {},
        "outputs": {},
        "errors": (),
        "failed_nodes": (),
        "skipped_nodes": (),
        "waiting": (),
        "timings": (),
        "taken_edges": frozenset(),
        "statuses": (),
        "started_at": 1.0,
        "updated_at": 2.0,
        "finished_at": 2.0,
        "tags": {},
        **more,
    }
    return RunResult(**given)


def fail(message: str) -> NodeFailure:
    return NodeFailure("a", "a", 1, "ValueError", message)


def test_large_values_are_cut() -> None:
    shown = Presenter(max_bytes=50).show_value("outputs", {"text": "x" * 100})

    assert str(shown.value).startswith('{"text":"xxx')
    assert len(str(shown.value)) < 150


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("token", None, None),
        ("outputs", {"a": {"password": "p"}, "b": [{"Authorization": "t"}]}, "ab"),
        ("message", "Authorization: Bearer abc.def, retry", "Authorization: [redacted], retry"),
        ("message", "connect to postgres://ann:pw@db/x failed", "connect to postgres://[redacted]@db/x failed"),
        ("message", "connect to redis://ann:p@ss@db/x failed", "connect to redis://[redacted]@db/x failed"),
        ("message", "{'api_key': 'a b', 'n': 1}", "{'api_key': [redacted], 'n': 1}"),
        ("message", r'{"password": "a\"b c", "n": 1}', '{"password": [redacted], "n": 1}'),
        ("message", "private_key=k-1 access-key: k-2 key=3", "private_key=[redacted] access-key: [redacted] key=3"),
        ("message", "the passage of 3 tokens", "the passage of 3 tokens"),
    ],
)
def test_secrets_are_hidden(name: str, value: Any, shown: Any) -> None:
    if shown == "ab":
        shown = {"a": {"password": "[redacted]"}, "b": [{"Authorization": "[redacted]"}]}
    assert hide_secrets(name, value) == shown


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "token" * 200_000, 'token="' * 100_000, 'token="\\' * 100_000, "://" * 200_000]
)
@pytest.mark.timeout(60)
def test_no_text_makes_the_redaction_slow(text: str) -> None:
    assert isinstance(hide_secrets("message", text), str)


def test_errors_are_redacted_and_cut_in_lines_and_tables() -> None:
    presenter, result = Presenter(), make_result(errors=(fail("password=p " + "x" * 1000),))

    (row,) = presenter.tabulate_failures([result]).records
    for text in (row.data["message"], presenter.name_failure(result)):
        assert "password=[redacted] xxx" in str(text)
        assert len(str(text)) < 600


def test_no_text_of_a_run_moves_the_cursor_of_a_terminal() -> None:
    failure = NodeFailure("a\nb\x1b[2J", "a", 1, "ValueError", "no\x1b]0;title\x07 more\u202e")
    shown = Presenter().name_failure(make_result(errors=(failure,)))

    assert shown.isprintable()
    assert r"node 'a\nb\x1b[2J': ValueError: no\x1b]0;title\x07 more\u202e" in shown


def test_a_redaction_of_ones_own_sees_everything_that_is_shown(site: Site, worker: WorkerThread) -> None:
    seen: list[str] = []

    def redact(name: str, value: Any) -> Any:
        seen.append(name)
        return "hidden"

    run_id = site.client.start("fails", {"n": "personal"})
    result = site.client.wait(run_id, 20)
    presenter, header = Presenter(redact=redact), site.client.status(run_id)
    blueprint = site.catalogue.entries["fails"].blueprint
    shown = [
        presenter.describe_result(result, header, blueprint),
        presenter.describe_figures(sum_up([header])),
        presenter.name_failure(result),
    ]

    assert "personal" not in repr(shown)
    assert {"outputs", "message", "reason"} <= set(seen)


def test_a_run_of_many_nodes_is_shown_in_part() -> None:
    timings = [NodeTiming(str(n), str(n), "ok", 1, 0.0, float(n)) for n in range(MOST_ROWS * 2)]
    result = make_result(errors=tuple(fail(str(n)) for n in range(MOST_ROWS * 2)))

    assert next(iter(measure_nodes(timings))) == str(MOST_ROWS * 2 - 1)
    assert len(measure_nodes(timings)) == MOST_ROWS
    assert len(Presenter().tabulate_failures([result]).records) == MOST_ROWS
