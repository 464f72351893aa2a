from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from flowcraft_dagster.cli.failures import join_sentences
from flowcraft_dagster.cli.output import shorten, show_fields, show_json, show_seconds, show_table
from flowcraft_dagster.cli.worker_log import LineFormatter


def test_a_table_without_a_terminal_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["RUN", "STATUS"], [["a-long-one", "failed"], ["b", "two\nlines"]])
    assert capsys.readouterr().out == "RUN         STATUS\na-long-one  failed\nb           two\\nlines\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_cuts_nothing_that_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    run_id, reason = "f645f77c-7e90-eff6-72c7-ae81bbf47625", "a reason of many words that is longer than a line"
    show_table(["RUN", "BLUEPRINT", "STATUS", "REASON"], [[run_id, "content-moderation", "completed", reason]])
    shown = terminal.getvalue()
    assert f"{run_id}   content-moderation   completed   a reason" in shown
    assert "".join(shown.split()).endswith("aline"), "the last column goes on below"


def test_fields_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields([("run", "r"), ("status", "failed")])
    assert capsys.readouterr().out == "run     r\nstatus  failed\n"


@pytest.mark.parametrize("lines", [True, False])
def test_json_is_json(lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "naïve \ud83d", "n": [1, 2.5, None]}
    show_json(value, lines=lines)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert (shown.count("\n") == 1) is lines


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 ms"), (0.9994, "999 ms"), (59.94, "59.9 s"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_lengths_of_time(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


def test_long_text_is_cut() -> None:
    assert shorten("abcdefgh", 6) == "abc..."
    assert shorten("abcdef", 6) == "abcdef"


@pytest.mark.parametrize(
    ("reason", "hint", "line"),
    [("it broke", "Mend it.", "it broke. Mend it."), ("really?", "", "really?"), ("two\n lines.", "", "two lines.")],
)
def test_sentences_are_one_line(reason: str, hint: str, line: str) -> None:
    assert join_sentences(reason, hint) == line


@pytest.mark.parametrize("with_tracebacks", [True, False])
def test_a_log_line_has_no_traceback_unless_somebody_debugs(with_tracebacks: bool) -> None:
    try:
        raise KeyError("a\nb")
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "run %s: trouble", ("r",), sys.exc_info())
    text = LineFormatter(with_tracebacks=with_tracebacks).format(record)
    assert ("Traceback" in text) is with_tracebacks
    if not with_tracebacks:
        assert text.endswith("ERROR run r: trouble (KeyError: 'a\\nb')")
        assert "\n" not in text
