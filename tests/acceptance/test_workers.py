"""Workers as processes: signals, deaths, missing node kinds, messages nobody can handle, full disks."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowcraft_dagster.ports.records import Message
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend
from tests.acceptance.command_line import ROOT, CommandLine, await_true


def _start_at_gate(cli: CommandLine, folder: Path, run_id: str) -> None:
    folder.mkdir(exist_ok=True)
    cli("start", "gate", "--run-id", run_id, "--context", json.dumps({"folder": str(folder)}))
    await_true(lambda: list(folder.glob("entered-*")))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def _send(cli: CommandLine, *messages: Message) -> None:
    async def send() -> None:
        backend = make_backend(Settings.from_env({"FLOWCRAFT_HOME": str(cli.home)}), SystemClock())
        await backend.open()
        try:
            await backend.jobs.send(messages)
        finally:
            await backend.close()

    asyncio.run(send())


def test_a_bounded_worker_ends_by_itself(alone: CommandLine) -> None:
    for number in range(3):
        alone("start", "chain", "--run-id", f"run-{number}", "--context", '{"n": 1}')
    some = alone("worker", "--max-jobs", 2)
    assert "2 messages taken" in some.err
    assert "1 left" in some.err
    rest = alone("worker", "--until-idle", 0.2, "--max-seconds", "1m")
    assert "1 messages taken" in rest.err
    assert "0 left" in rest.err
    assert [alone("status", f"run-{number}", "--json").json["status"] for number in range(3)] == ["completed"] * 3


def test_sigterm_drains_and_nothing_new_is_begun(alone: CommandLine, gate: Path) -> None:
    with alone.worker("--slot", "one") as worker:
        line = worker.expect(" ready: ")
        assert "ready: backend embedded, 8 blueprints, 19 node kinds" in line
        _start_at_gate(alone, gate, "drained")
        worker.send(signal.SIGTERM)
        worker.expect("SIGTERM: draining 1 runs")
        (gate / "open").touch()
        assert worker.wait() == 0
        worker.expect("stopped")
    result = alone("status", "drained", "--json").json
    # The node that ran was committed; its successor was left to the next worker.
    assert (result["status"], result["outputs"]) == ("running", {"g": 1})
    with alone.worker() as worker:
        await_true(lambda: alone("status", "drained", "--json").json["status"] == "completed")
        worker.send(signal.SIGINT)
        assert worker.wait() == 0
    assert len(list(gate.glob("entered-*"))) == 1


def test_a_second_signal_stops_at_once_and_loses_nothing(alone: CommandLine, gate: Path) -> None:
    with alone.worker() as worker:
        worker.expect(" ready: ")
        _start_at_gate(alone, gate, "hurried")
        worker.send(signal.SIGTERM)
        worker.expect("SIGTERM: draining")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 1
        worker.expect("second SIGTERM: stopping at once")
    (gate / "open").touch()
    with alone.worker() as worker:
        worker.expect(" ready: ")
        await_true(lambda: alone("status", "hurried", "--json").json["status"] == "completed")
    assert len(list(gate.glob("entered-*"))) == 2


def test_a_killed_workers_run_goes_on_in_another(alone: CommandLine, gate: Path) -> None:
    with alone.worker("--slot", "one") as worker:
        worker.expect(" ready: ")
        _start_at_gate(alone, gate, "survivor")
        worker.send(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
    (gate / "open").touch()
    with alone.worker("--slot", "one") as worker:
        worker.expect(" ready: ")
        await_true(lambda: alone("status", "survivor", "--json").json["status"] == "completed")
    assert alone("status", "survivor", "--json").json["outputs"] == {"g": 1, "after": 2}


def _get(address: str) -> bytes:
    host, _, path = address.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_health_and_metrics_are_served_on_this_machine(alone: CommandLine) -> None:
    with alone.worker("--health-port", "0", "--concurrency", "3") as worker:
        address = worker.expect(" ready: ").partition("health on ")[2]
        assert address.startswith("http://127.0.0.1:")
        alone("start", "chain", "--wait", "60")
        health = json.loads(_get(address))
        assert (health["ready"], health["trouble"], health["counters"]["nodes"]) == (True, None, 2)
        assert b"\nflowcraft_worker_nodes_total 2\n" in _get(address.replace("healthz", "metrics"))
        taken = address.partition("127.0.0.1:")[2].partition("/")[0]
        assert f"error: health port {taken}: address already in use." in alone.refuse("worker", "--health-port", taken)


def test_a_worker_without_a_node_kind_leaves_the_run_to_another(alone: CommandLine) -> None:
    with alone.worker(app="tests.acceptance.sample_app:partial") as partial:
        partial.expect(" ready: ")
        partial.expect("blueprint 'rare': no node kind 'rare' is registered")
        alone("start", "rare", "--run-id", "rare-run")
        partial.expect("run rare-run: no node kind 'rare' is registered here; trying again")
        assert alone("start", "chain", "--wait", "60", "--json").json["status"] == "completed"
        assert alone("status", "rare-run", "--json").json["status"] == "running"
        partial.send(signal.SIGTERM)
        assert partial.wait() == 0
    with alone.worker() as worker:
        worker.expect(" ready: ")
        await_true(lambda: alone("status", "rare-run", "--json").json["status"] == "completed")


def test_messages_nobody_can_handle_become_dead_letters(alone: CommandLine) -> None:
    alone("init")
    unreadable = b"\xff\x00 not JSON"
    unknown_run = json.dumps({"runId": "ghost", "blueprintId": "unheard", "nodeId": "a"}).encode()
    _send(alone, Message("k", unreadable), Message("ghost", unknown_run, {"trace": "1"}), Message("x", b'{"runId": 7}'))
    with alone.worker() as worker:
        worker.expect("cannot be handled and goes to the dead letters", times=3)
        assert alone("start", "chain", "--wait", "60", "--json").json["status"] == "completed"
    letters = alone("dead-letters", "list", "--json").json
    by_value = {base64.b64decode(letter["value"]): letter for letter in letters}
    assert by_value[unreadable]["reason"].startswith("unreadable message: not JSON")
    assert by_value[unreadable]["text"] is None
    assert "run 'ghost' is not known" in by_value[unknown_run]["reason"]
    assert by_value[unknown_run]["headers"] == {"trace": "1"}
    first = by_value[unreadable]["letterId"]
    assert "\\xff" in alone("dead-letters", "show", first).out
    assert first in alone("dead-letters", "list").out
    raw = subprocess.run(
        [sys.executable, "-m", "flowcraft_dagster.cli", "dead-letters", "show", first, "--raw"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=alone.environment,
        timeout=60,
    )
    assert raw.stdout == unreadable
    report = alone("doctor", "--json", code=1).json
    assert [check["name"] for check in report["checks"] if not check["ok"]] == ["dead letters"]
    assert alone("dead-letters", "replay", first).out == "replayed 1 letters\n"
    queue = next(check for check in alone("doctor", "--json", code=1).json["checks"] if check["name"] == "queue")
    assert (queue["ok"], queue["detail"].partition(";")[0]) == (False, "1 messages wait and no worker is alive")
    assert alone("dead-letters", "drop", "--all", "--json").json == {
        "dropped": [letter["letterId"] for letter in reversed(letters) if letter["letterId"] != first],
        "failed": {},
    }
    assert alone("dead-letters", "list").err == "no dead letters\n"
    assert alone("dead-letters", "drop", "9-9", code=1).err == "error: letter '9-9': there is no such letter\n"
    assert "there is no dead letter '9-9'" in alone.refuse("dead-letters", "show", "9-9")


def test_too_many_threads_that_cannot_be_ended_make_a_fresh_process(alone: CommandLine) -> None:
    quick = {"FLOWCRAFT_MAX_ABANDONED_THREADS": "2", "FLOWCRAFT_HEARTBEAT_SECONDS": "0.2"}
    with alone.worker("--slot", "one", **quick) as worker:
        first = worker.expect(" ready: ")
        for number in range(3):
            alone("start", "stuck", "--run-id", f"stuck-{number}", "--wait", "60", code=1)
        worker.expect("starting a fresh process")
        second = worker.expect(" ready: ", times=2)
        assert first != second
        assert alone("start", "chain", "--wait", "60", "--json").json["status"] == "completed"
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_lost_queue_is_rebuilt(alone: CommandLine) -> None:
    alone("start", "chain", "--run-id", "forgotten")
    stats = alone("reconcile", "--all", "--json").json
    assert (stats["scanned"], stats["reconciledRuns"]) == (1, ["forgotten"])
    assert alone("reconcile", "--stalled-after", "0", "--json").json["stalledRuns"] == ["forgotten"]
    # What still waits in the queue is not counted again.
    again = alone("reconcile", "--stalled-after", "300", "--json").json
    assert (again["stalled"], again["reconciled"]) == (0, 0)
    with alone.worker() as worker:
        worker.expect(" ready: ")
        await_true(lambda: alone("status", "forgotten", "--json").json["status"] == "completed")


def test_reconcile_repeats_until_it_is_stopped(alone: CommandLine) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flowcraft_dagster.cli", "reconcile", "--every", "0.1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=alone.environment,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        passes = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        rest, shown = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, rest + shown
    assert shown == ""
    assert all(stats["scanned"] == 0 for stats in passes)


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_a_full_disk_refuses_and_loses_nothing(alone: CommandLine) -> None:
    alone("start", "chain", "--run-id", "before")
    done = subprocess.run(
        [sys.executable, "-m", "flowcraft_dagster.cli", "start", "chain", "--run-id", "too-much", "--context", "@-"],
        input=json.dumps({"text": "x" * 1_000_000}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=alone.environment,
        timeout=60,
        preexec_fn=_limit_file_size,
    )
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert [run["runId"] for run in alone("runs", "--json").json] == ["before"]
    with alone.worker() as worker:
        worker.expect(" ready: ")
        await_true(lambda: alone("status", "before", "--json").json["status"] == "completed")


def test_a_worker_on_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a-file"
    path.touch()
    line = CommandLine(path / "home").refuse("worker")
    assert line.startswith(f"error: cannot write to {path}")


def test_a_worker_needs_an_app_that_can_be_loaded(alone: CommandLine) -> None:
    assert "a worker needs an app" in alone.refuse("worker", code=2, FLOWCRAFT_APP="")
    assert "cannot import nowhere" in alone.refuse("worker", "--app", "nowhere:app", code=2)
    assert "no 'other'" in alone.refuse("worker", "--app", "tests.acceptance.sample_app:other", code=2)
