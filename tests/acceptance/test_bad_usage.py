"""Wrong input of every kind at the terminal: one line that says what, where and what to do; never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.command_line import PATIENCE, ROOT, CommandLine, await_true

SLOW = (
    "import asyncio, os, signal, sys, time\nfrom flowcraft_dagster import Flowcraft\napp = Flowcraft()\n"
    "@app.node('slow')\nasync def slow(ctx):\n    print('begun', file=sys.stderr, flush=True)\n"
    "    await asyncio.sleep(600)\n"
    "@app.node('pressed')\nasync def pressed(ctx):\n    os.kill(os.getpid(), signal.SIGINT)\n"
    "    await asyncio.sleep(600)\n"
    "@app.node('busy')\ndef busy(ctx):\n    print('begun', file=sys.stderr, flush=True)\n    time.sleep(600)\n"
)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _one_node(folder: Path, uses: str) -> Path:
    return _write(folder / "one.json", f'{{"nodes": [{{"id": "a", "uses": "{uses}"}}]}}')


# -- apps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise RuntimeError('boom\\nsecond line')", "cannot import odd_app: RuntimeError: boom second line"),
        ("import sys; sys.exit(3)", "importing odd_app ends the program (exit code 3)"),
        ("import sys; sys.exit('no')", "importing odd_app ends the program (exit code no)"),
        ("def (", "cannot import odd_app: SyntaxError"),
        ("import nothing_like_this", "cannot import odd_app: ModuleNotFoundError: No module named"),
        ("app = 1", "'app' is a int, not a Flowcraft app"),
        ("other = 1", "module odd_app has no 'app'"),
    ],
)
@pytest.mark.parametrize("command", ["run", "worker", "start"])
def test_an_app_that_cannot_be_loaded_is_wrong_usage(
    alone: CommandLine, tmp_path: Path, text: str, told: str, command: str
) -> None:
    _write(tmp_path / "odd_app.py", text)
    places: dict[str, list[object]] = {"run": [_one_node(tmp_path, "x")], "worker": [], "start": ["one"]}
    path = f"{tmp_path}:{alone.environment['PYTHONPATH']}"
    line = alone.refuse(command, *places[command], "--app", "odd_app:app", code=2, PYTHONPATH=path)
    assert f"error: app 'odd_app:app': {told}" in line
    assert "Give MODULE:ATTR" in line


@pytest.mark.parametrize("target", ["x", ":", "x:", ":app", "../x:app", "nothing_here:app", "os:path"])
def test_a_name_that_leads_to_no_app_is_wrong_usage(alone: CommandLine, tmp_path: Path, target: str) -> None:
    assert alone.refuse("run", _one_node(tmp_path, "x"), "--app", target, code=2).startswith("error: app '")


# -- files and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "lint", "graph"])
def test_a_file_that_cannot_be_read_is_wrong_usage(alone: CommandLine, tmp_path: Path, command: str) -> None:
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    for name, told in (
        ("nowhere.json", "No such file or directory"),
        ("", "Is a directory"),
        ("loop.json", "Too many levels of symbolic links"),
        ("a\nb.json", "No such file or directory"),
    ):
        line = alone.refuse(command, tmp_path / name, code=2)
        assert f"cannot be read: {told}" in line
        assert line.endswith("Check the path and its permissions.")
    assert "the path is empty" in alone.refuse(command, "", code=2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is not JSON"),
        (b'{"nodes": [', "is not JSON: unexpected end of data (line 1"),
        (b"\xff\xfe{}", "is not UTF-8 text (byte 0)"),
        (b"[" * 200_000 + b"]" * 200_000, "is not JSON: depth limit exceeded"),
        (b'"text"', "must be an object, not text"),
    ],
    ids=["empty", "cut", "binary", "deep", "text"],
)
def test_a_file_that_is_no_blueprint_is_named(alone: CommandLine, tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    line = alone.refuse("run", path)
    assert "blueprint 'bad'" in line
    assert told in line


def test_a_blueprint_that_is_too_large_gets_advice_that_helps(alone: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    assert alone.refuse("lint", path).endswith("Keep data out of blueprints, or split it into sub-flows.")
    assert "has more than 10485760 bytes" in alone.refuse("lint", "/dev/zero")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "chain", "--context", "{"), "not JSON"),
        (("start", "chain", "--context", "[1]"), "must be a JSON object, not a list"),
        (("start", "chain", "--context", '{"a": NaN}'), "NaN is no JSON value"),
        (("start", "chain", "--context", '{"a": 1e999}'), "1e999 is beyond the range of numbers"),
        (("resume", "x", "y", "--output", "[" + "9" * 400 + "]"), "99999999999999999999... is beyond the range"),
        (("start", "chain", "--context", "@nowhere.json"), "cannot read 'nowhere.json': no such file or directory"),
        (("start", "chain", "--context", "@/"), "cannot read '/': is a directory"),
        (("start", "chain", "--run-id", ""), "must be 1 to 200 printable characters"),
        (("start", "chain", "--run-id", "x" * 201), "must be 1 to 200 printable characters"),
        (("start", "chain", "--run-id", "a\nb"), "must be 1 to 200 printable characters"),
        (("retry", "x", "--run-id", ""), "must be 1 to 200 printable characters"),
        (("request", "chain", "--run-id", ""), "must be 1 to 200 printable characters"),
        (("worker", "--slot", ""), "must be 1 to 200 printable characters"),
        (("worker", "--slot", "a\nb"), "must be 1 to 200 printable characters"),
        (("start", "chain", "--tag", "x"), "'x' is not NAME=VALUE"),
        (("start", "chain", "--wait", "-1"), "'-1' is no length of time"),
        (("runs", "--since", "yesterday"), "'yesterday' is no moment"),
        (("runs", "--limit", "0"), "is not in the range"),
        (("runs", "--status", "odd"), "is not one of"),
        (("forget", "--older-than-days", "nan"), "'nan' is no number of days"),
        (("forget", "--older-than-days", "-1"), "'-1' is no number of days"),
        (("reconcile", "--all", "--every", "5"), "--all is for once"),
        (("nothing",), "there is no command 'nothing'"),
        (("runs", "extra"), "unexpected extra argument"),
        (("start",), "Missing argument"),
    ],
)
def test_values_that_cannot_be_used_are_wrong_usage(
    alone: CommandLine, arguments: tuple[str, ...], told: str
) -> None:
    assert told in alone.refuse(*arguments, code=2)


def test_a_file_of_contexts_is_read_within_bounds(alone: CommandLine, tmp_path: Path) -> None:
    lines = _write(tmp_path / "l.jsonl", '{"a": 1}\n[1]\n')
    assert "line 2: not a JSON object. Nothing was sent." in alone.refuse("request", "chain", "--contexts-file", lines)
    told = alone.refuse("request", "chain", "--contexts-file", "/dev/zero")
    assert "line 1: more than 67108864 bytes. Nothing was sent." in told
    assert "Name the blueprint" in alone.refuse("request", "", code=2)


def test_a_group_without_a_command_shows_its_help(alone: CommandLine) -> None:
    for arguments in ((), ("dead-letters",)):
        outcome = alone(*arguments, code=2)
        assert outcome.out.startswith("Usage: flowcraft-dagster")
        assert outcome.err == ""


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FLOWCRAFT_BACKEND", "mongo", "'mongo' is none of embedded, kafka, memory"),
        ("FLOWCRAFT_CONCURRENCY", "0", "'0' is not a finite number above zero"),
        ("FLOWCRAFT_CONCURRENCY", "1.5", "'1.5' is not a whole number"),
        ("FLOWCRAFT_HEARTBEAT_SECONDS", "inf", "'inf' is not a finite number above zero"),
        ("FLOWCRAFT_RETENTION_DAYS", "nan", "'nan' is not a finite number above zero"),
        ("FLOWCRAFT_DURABILITY", "never", "'never' is none of node, segment"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(alone: CommandLine, name: str, value: str, told: str) -> None:
    assert f"error: setting {name}: {told}. Set {name}" in alone.refuse("runs", code=2, **{name: value})


def test_a_home_that_is_a_file_is_named(alone: CommandLine, tmp_path: Path) -> None:
    home = _write(tmp_path / "file", "")
    told = f"error: cannot write to {home}: there is a file of that name, and no folder"
    assert told in alone.refuse("runs", FLOWCRAFT_HOME=str(home))


def test_a_missing_node_kind_is_the_only_thing_that_is_said(alone: CommandLine, tmp_path: Path) -> None:
    outcome = alone("run", _one_node(tmp_path, "nosuch"), code=1)
    assert outcome.err.splitlines() == [
        "error: no node kind 'nosuch' is registered here. "
        "Register it with @app.node('nosuch') in the app that the worker loads."
    ]


# -- streams ---------------------------------------------------------------------------------------------------------


def _shell(cli: CommandLine, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which ``$CLI`` is the command."""
    done = subprocess.run(
        ["/bin/bash", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**cli.environment, "CLI": f"{sys.executable} -m flowcraft_dagster.cli", **environment},
        timeout=2 * PATIENCE,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done


def test_closed_and_full_streams_are_no_bugs(alone: CommandLine) -> None:
    alone("start", "ask", "--run-id", "a")
    done = _shell(alone, "$CLI runs >&-; echo $?; $CLI runs 2>&- | wc -l; $CLI status nobody 2>&-; echo $?")
    assert (done.stdout.split(), done.stderr) == (["0", "2", "1"], "")
    done = _shell(alone, "$CLI runs >/dev/full; echo $?; $CLI --help >/dev/full; echo $?")
    assert done.stdout.split() == ["1", "1"]
    assert done.stderr.splitlines() == [
        "error: input or output: no space left on device. Check the path, its permissions and the space left."
    ] * 2
    done = _shell(alone, "$CLI start chain --context @- <&-; echo $?")
    assert done.stdout.split() == ["2"]
    assert "standard input is closed" in done.stderr


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(alone: CommandLine) -> None:
    for number in range(3):
        alone("start", "ask", "--run-id", f"a{number}", "--context", f'{{"x": "{"y" * 90_000}"}}')
    done = _shell(alone, "$CLI status a0 --json | head -c 1; echo; $CLI runs | true; $CLI --help | head -1")
    assert done.stderr == ""


# -- interruptions ---------------------------------------------------------------------------------------------------


def _interrupt(cli: CommandLine, *arguments: object, begun: str, **environment: str) -> tuple[int, str, float]:
    """Press Ctrl-C once ``begun`` was said; exit code, standard error, seconds until the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "flowcraft_dagster.cli", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**cli.environment, **environment},
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while begun not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            pressed = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            said += process.communicate(timeout=PATIENCE)[1]
            return process.returncode, said, time.monotonic() - pressed
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["slow", "busy"])
def test_ctrl_c_ends_a_run_in_memory_at_once(alone: CommandLine, tmp_path: Path, kind: str) -> None:
    _write(tmp_path / "slow_app.py", SLOW)
    path = f"{tmp_path}:{alone.environment['PYTHONPATH']}"
    command = ("run", _one_node(tmp_path, kind), "--app", "slow_app:app")
    code, said, seconds = _interrupt(alone, *command, begun="begun", PYTHONPATH=path, FLOWCRAFT_DRAIN_SECONDS="40")
    assert (code, said.split()) == (130, ["begun", "interrupted"])
    assert seconds < 20, "it waited for a node whose result nobody will see"


def test_ctrl_c_in_the_middle_of_a_node_is_no_error_of_the_node(alone: CommandLine, tmp_path: Path) -> None:
    _write(tmp_path / "slow_app.py", SLOW)
    path = f"{tmp_path}:{alone.environment['PYTHONPATH']}"
    node = _one_node(tmp_path, "pressed")
    outcome = alone("run", node, "--app", "slow_app:app", code=130, PYTHONPATH=path)
    assert (outcome.out, outcome.err.split()) == ("", ["interrupted"])
    program = (
        f"from slow_app import app\napp.add_blueprint({str(node)!r})\n"
        "try:\n    app.run('one')\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**alone.environment, "PYTHONPATH": path},
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_running_out_of_time_in_memory_ends_at_once_and_tells_the_truth(alone: CommandLine, tmp_path: Path) -> None:
    _write(tmp_path / "slow_app.py", SLOW)
    path = f"{tmp_path}:{alone.environment['PYTHONPATH']}"
    begin = time.monotonic()
    outcome = alone(
        *("run", _one_node(tmp_path, "slow"), "--app", "slow_app:app", "--timeout", "0.5s"),
        code=1,
        PYTHONPATH=path,
        FLOWCRAFT_DRAIN_SECONDS="50",
    )
    assert time.monotonic() - begin < 40
    line = outcome.err.splitlines()[-1]
    assert "is still running after 0.5 s. It ended with this program" in line


def test_ctrl_c_while_waiting_leaves_the_run_alone(alone: CommandLine) -> None:
    code, said, _ = _interrupt(alone, "start", "ask", "--run-id", "kept", "--wait", "600", begun="started")
    assert (code, said.split()[-1]) == (130, "interrupted")
    shown = alone("status", "kept", "--json").json
    assert (shown["status"], shown["pending"]) == ("running", ["w"])
    assert "running, or waiting for a worker: w\n" in alone("status", "kept").out


# -- disks -----------------------------------------------------------------------------------------------------------

DISK = """
mount -t tmpfs -o size=3m tmpfs "$DISK"
export FLOWCRAFT_HOME="$DISK/home"
say() { local code=0; echo "== $1"; shift; "$@" 2>&1 || code=$?; echo "-- $code"; }
fill() { dd if=/dev/zero of="$DISK/fill" bs=1k count=8000 2>/dev/null || true; }

say accepted $CLI start ask --run-id first
fill
say full-start $CLI start ask --run-id second
say full-runs $CLI runs
say full-worker timeout 60 $CLI worker
rm "$DISK/fill"

$CLI worker --slot one >"$LOG" 2>&1 &
worker=$!
until grep -q ready "$LOG"; do sleep 0.05; done
until $CLI status first --json | grep -q '"awaiting"'; do sleep 0.05; done
fill
say full-answer $CLI resume first w --request-id once
sleep 1.5
kill -0 $worker
rm "$DISK/fill"
say answer $CLI resume first w --request-id once --output 1
until $CLI status first --json | grep -q '"completed"'; do sleep 0.05; done
say later $CLI start chain --context '{"n": 1}' --run-id later --wait 60
kill $worker
wait $worker
say drained true

mount -o remount,ro "$DISK"
say read-only-start $CLI start ask --run-id third
say read-only-worker timeout 60 $CLI worker
mount -o remount,rw "$DISK"
say kept $CLI runs
"""


def test_a_full_and_a_read_only_disk_pause_work_and_lose_nothing(alone: CommandLine, tmp_path: Path) -> None:
    disk, log = tmp_path / "disk", tmp_path / "worker.log"
    disk.mkdir()
    inside = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system of its own")
    done = subprocess.run(
        [*inside, "/bin/bash", "-euo", "pipefail", "-c", DISK],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **alone.environment,
            "CLI": f"{sys.executable} -m flowcraft_dagster.cli",
            "DISK": str(disk),
            "LOG": str(log),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        timeout=4 * PATIENCE,
    )
    logged = log.read_text(encoding="utf-8") if log.exists() else ""
    shown = f"{done.stdout}\n{done.stderr}\n{logged}"
    assert "Traceback" not in shown, shown
    assert done.returncode == 0, shown
    said = {
        part.partition("\n")[0]: part.partition("\n")[2].split("-- ") for part in done.stdout.split("== ")[1:]
    }
    full = f"error: cannot write to {disk}/home/flowcraft.db: "
    for name in ("full-start", "full-runs", "full-worker", "full-answer"):
        text, code = said[name]
        assert text.startswith(full), text
        assert "full" in text
        assert "Free space" in text
        assert (text.count("\n"), code.strip()) == (1, "1"), name
    for name in ("read-only-start", "read-only-worker"):
        assert said[name][0].startswith(f"error: cannot write to {disk}/home/")
        assert said[name][1].strip() == "1"
    for name in ("accepted", "answer", "later", "kept"):
        assert said[name][1].strip() == "0", said[name]
    assert "first  ask" in said["kept"][0]
    assert "completed" in said["kept"][0]
    # A disk that stays full is no reason to fill the log.
    assert len([line for line in logged.splitlines() if "WARNING" in line]) < 40, logged


def test_ctrl_c_before_anything_is_loaded_shows_no_traceback(alone: CommandLine) -> None:
    seen: set[int] = set()

    def press() -> bool:
        with subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "flowcraft_dagster.cli", "runs"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=alone.environment,
        ) as process:
            assert process.stderr is not None
            said = ""
            # In the middle of the imports that the program itself makes.
            while " click." not in said:
                line = process.stderr.readline()
                if not line:
                    return False
                said += line
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=PATIENCE)[1]
            assert "Traceback" not in said, said[-2000:]
            seen.add(process.returncode)
            return process.returncode == 130

    await_true(press)
    assert seen <= {0, 130}
