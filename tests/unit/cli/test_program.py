from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flowcraft_dagster.cli import main
from flowcraft_dagster.cli.failures import run_program
from flowcraft_dagster.cli.parameters import Identifier, Text
from flowcraft_dagster.cli.program import SECTIONS, program
from flowcraft_dagster.errors import AppLoadError, RunNotFound, StoreUnavailable

ROOT = Path(__file__).resolve().parents[3]
CASES = sorted((ROOT / "tests" / "conformance" / "cases").glob("*.json"))[0]
COMMANDS = [name for commands in SECTIONS.values() for name in commands]


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert "0 done, 1 the work failed, 2 wrong usage" in " ".join(shown.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_teaches_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:\n" in shown
    examples = [line for line in shown.partition("Examples:\n")[2].splitlines() if line.strip()]
    assert examples
    assert all("flowcraft-dagster " + name in line for line in examples)
    summary = next(commands[name].summary for commands in SECTIONS.values() if name in commands)
    assert summary.endswith(".")


def _walk(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, context)
    else:
        yield command


def test_bytes_that_are_no_text_are_refused_wherever_text_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWCRAFT_HOME", str(tmp_path / "home"))
    tried = 0
    for command in _walk(program, click.Context(program)):
        for parameter in command.params:
            assert type(parameter.type) is not click.types.StringParamType, f"{command.name}: {parameter.name}"
            if not isinstance(parameter.type, (Text, Identifier)):
                continue
            before = [] if isinstance(parameter, click.Argument) else parameter.opts[:1]
            assert run_program(command, [*before, "a=\udcff"]) == 2
            shown = capsys.readouterr().err
            assert "'a=\\udcff' is not UTF-8 text. See" in shown, f"{command.name}: {parameter.name}: {shown}"
            tried += 1
    assert tried > 20
    assert main(["start", "b", "--context", '{"a": "\udcff"}']) == 2
    assert "is not UTF-8 text" in capsys.readouterr().err
    assert not (tmp_path / "home").exists(), "nothing was opened"


def test_text_in_another_locale_is_read_as_utf_8() -> None:
    # As Python hands it over in an ASCII locale.
    assert Text().convert("f\udcc3\udcbcr", None, None) == "für"


def test_help_and_status_import_neither_dagster_nor_other_commands() -> None:
    program_text = (
        "import sys; from flowcraft_dagster.cli import main; main(['--help'])\n"
        "loaded = set(sys.modules)\n"
        "assert 'flowcraft_dagster.cli.runs' not in loaded, 'help imports commands'\n"
        "assert 'flowcraft_dagster.engine' not in loaded, 'help imports the engine'\n"
        "main(['status', '--help'])\n"
        "loaded = set(sys.modules)\n"
        "heavy = [n for n in loaded if n.split('.')[0] in ('dagster', 'rich', 'lark', 'redis', 'cassandra')]\n"
        "assert not heavy, heavy\n"
        "assert 'flowcraft_dagster.app' not in loaded, 'status imports the app'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program_text], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["statsu"], "error: there is no command 'statsu'. Did you mean 'status'"),
        (["status"], "error: Missing argument 'RUN_ID'. See 'flowcraft-dagster status --help'."),
        (["runs", "--status", "nice"], "error: Invalid value for '--status': 'nice' is not one of"),
        (["runs", "--since", "soon"], "'soon' is no moment"),
        (["runs", "--limit", "0"], "error: Invalid value for '--limit'"),
        (["runs", "--nope"], "error: No such option"),
        (["start", "b", "--context", "[1]"], "must be a JSON object, not a list"),
        (["start", "b", "--context", "{'a': 1}"], "not JSON"),
        (["start", "b", "--context", '{"a": NaN}'], "not JSON"),
        (["start", "b", "--context", "@nowhere.json"], "cannot read 'nowhere.json': no such file or directory"),
        (["start", "b", "--wait", "long"], "'long' is no length of time"),
        (["start", "b", "--tag", "x"], "'x' is not NAME=VALUE"),
        (["start", "b", "--app", "nomodule:app"], "error: app 'nomodule:app': cannot import nomodule"),
        (["start", "b", "--app", "nomodule"], "error: app 'nomodule': is not MODULE:ATTR"),
        (["start", "b", "--app", "json:dumps"], "'dumps' is a function, not a Flowcraft app"),
        (["worker"], "error: a worker needs an app: give --app MODULE:ATTR"),
        (["reconcile", "--every", "0"], "must be above zero"),
        (["reconcile", "--every", "5m", "--all"], "--all is for once"),
        (["dead-letters", "drop"], "name letters, or give --all"),
        (["dead-letters", "drop", "3-1", "--all"], "name letters, or give --all"),
        (["graph"], "give FILE.json, or a run with --run"),
        (["conformance", "nowhere.json"], "'nowhere.json' does not exist"),
        (["conformance", "cases.json"], "'cases.json' holds no case"),
        (["conformance", str(CASES), "--only", "none-of-this"], "has 'none-of-this' in its name or category"),
        (["bench", "--blueprint", "chain:0"], "'chain:0' has not between 1 and"),
        (["bench", "--blueprint", "ring"], "'ring' is none of chain5, diamond, fan50, moderation"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases.json").write_text("[]")
    monkeypatch.setenv("FLOWCRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLOWCRAFT_APP", raising=False)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("error: ")
    assert told in shown.err


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FLOWCRAFT_BACKEND", "oracle", "setting FLOWCRAFT_BACKEND: 'oracle' is none of embedded, kafka, memory"),
        ("FLOWCRAFT_BACKEND", "memory", "setting FLOWCRAFT_BACKEND: runs in memory end with their process"),
        ("FLOWCRAFT_CONCURRENCY", "many", "setting FLOWCRAFT_CONCURRENCY: 'many' is not a whole number"),
        ("FLOWCRAFT_TIMER_SECONDS", "-1", "setting FLOWCRAFT_TIMER_SECONDS: '-1' is not a finite number above zero"),
        ("FLOWCRAFT_SYNCHRONOUS", "MAYBE", "setting FLOWCRAFT_SYNCHRONOUS: 'MAYBE' is none of FULL, NORMAL"),
    ],
)
def test_a_bad_setting_names_its_variable(
    variable: str, value: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["runs"]) == 2
    assert told in capsys.readouterr().err


def _command_that_raises(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            RunNotFound(run_id="r"),
            1,
            "error: run 'r' is not known. List runs with 'flowcraft-dagster runs'; check FLOWCRAFT_BACKEND and "
            "FLOWCRAFT_HOME.\n",
        ),
        (AppLoadError("is odd", target="a:b"), 2, "error: app 'a:b': is odd. Give MODULE:ATTR"),
        (
            StoreUnavailable("gone\nfishing", store="s"),
            1,
            "error: state store s is away: gone fishing. Nothing is lost",
        ),
        (KeyError("x"), 1, "error: unexpected KeyError: 'x'. Set FLOWCRAFT_DEBUG=1 for the traceback and report it.\n"),
        (PermissionError(13, "Permission denied", "f"), 1, "error: f: permission denied. Check the path"),
        (RecursionError("deep"), 1, "error: the JSON is nested too deeply. Flatten it.\n"),
    ],
)
def test_an_error_is_one_line_with_a_hint(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWCRAFT_DEBUG", raising=False)
    assert run_program(_command_that_raises(error), []) == code
    shown = capsys.readouterr().err
    assert shown.startswith(line)
    assert shown.count("\n") == 1


def test_an_interrupted_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(_command_that_raises(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err.split() == ["interrupted"]


def test_the_traceback_comes_only_when_somebody_debugs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWCRAFT_DEBUG", "1")
    assert run_program(_command_that_raises(KeyError("x")), []) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_program_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: flowcraft-dagster" in capsys.readouterr().out


def test_a_command_line_that_works_returns_what_the_command_says() -> None:
    @click.command()
    def work() -> int:
        return 1

    assert run_program(work, []) == 1
    assert run_program(program, ["--version"]) == 0
