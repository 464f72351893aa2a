"""Starting, watching, answering and cancelling runs from the command line, with a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.command_line import ROOT, CommandLine, await_true


def _await_status(cli: CommandLine, run_id: str, status: str) -> None:
    await_true(lambda: cli("status", run_id, "--json").json["status"] == status)


def test_a_run_is_started_and_its_result_shown(served: CommandLine) -> None:
    outcome = served("start", "chain", "--context", '{"n": 1}', "--run-id", "shown", "--tag", "who=me", "--wait", "60")
    assert "status     completed" in outcome.out
    assert "  b: 3" in outcome.out
    assert "tag who    me" in outcome.out


def test_start_prints_the_id_alone_so_that_scripts_can_take_it(served: CommandLine) -> None:
    run_id = served("start", "chain").out.strip()
    result = served("start", "chain", "--run-id", run_id, "--wait", "60", "--json").json
    assert (result["runId"], result["status"], result["outputs"]) == (run_id, "completed", {"a": 1, "b": 2})
    assert result["timings"]
    assert [entry["status"] for entry in result["statuses"]] == ["running", "completed"]


def test_a_failed_run_has_exit_code_1_and_a_reason(served: CommandLine) -> None:
    outcome = served("start", "boom", "--wait", "60", code=1)
    assert "status     failed" in outcome.out
    assert "node 'a': RuntimeError: two lines" in outcome.out
    failed = served("start", "boom", "--wait", "60", "--json", code=1).json
    assert failed["reason"] == "node 'a': RuntimeError: two lines"
    assert failed["errors"][0]["message"] == "two\nlines"


def test_the_same_start_twice_is_one_run(served: CommandLine) -> None:
    first = served("start", "chain", "--run-id", "twice", "--context", '{"n": 1}')
    again = served("start", "chain", "--run-id", "twice", "--context", '{"n": 1}')
    assert first.out == again.out == "twice\n"
    line = served.refuse("start", "chain", "--run-id", "twice", "--context", '{"n": 2}')
    assert line.startswith("error: run 'twice' exists already with another context. Choose another run id")
    assert "blueprint 'chain'" in served.refuse("start", "boom", "--run-id", "twice")


def test_a_wait_that_is_too_short_fails_no_run(served: CommandLine) -> None:
    outcome = served("start", "ask", "--run-id", "patient", "--wait", "1", code=1)
    assert "error: run 'patient' is still awaiting after 1.0 s. The run goes on" in outcome.err
    assert "flowcraft-dagster resume patient w" in outcome.out
    late = served("start", "ask", "--run-id", "patient", "--wait", "0.2", "--json", code=1)
    assert late.json == {"runId": "patient", "status": "awaiting", "timedOut": True}
    served("resume", "patient", "w", "--output", "1", "--action", "yes")
    _await_status(served, "patient", "completed")


def test_status_shows_how_to_answer_and_the_answer_chooses_the_way(served: CommandLine) -> None:
    served("start", "ask", "--run-id", "asked")
    _await_status(served, "asked", "awaiting")
    shown = served("status", "asked").out
    assert "waits: w (wait) since" in shown
    assert "answer: flowcraft-dagster resume asked w --output JSON" in shown
    assert served("status", "asked", "--json").json["waiting"][0]["path"] == "w"
    answered = served("resume", "asked", "w", "--output", '{"by": "Ada"}', "--action", "no", "--json").json
    assert answered == {"runId": "asked", "node": "w", "activation": "w"}
    _await_status(served, "asked", "completed")
    assert served("status", "asked", "--json").json["outputs"] == {"w": {"by": "Ada"}, "no": {"by": "Ada"}}


def test_a_wait_inside_a_subflow_is_answered_by_its_path(served: CommandLine) -> None:
    served("start", "parent", "--run-id", "above")
    await_true(lambda: "resume above p/w" in served("status", "above").out)
    served("resume", "above", "p/w", "--output", "5", "--action", "yes")
    _await_status(served, "above", "completed")


def test_an_answer_nobody_waits_for_is_refused(served: CommandLine) -> None:
    served("start", "ask", "--run-id", "quiet")
    _await_status(served, "quiet", "awaiting")
    line = served.refuse("resume", "quiet", "yes", "--output", "1")
    assert line == "error: run 'quiet': node 'yes' does not wait for an answer. Waiting now: w."
    served("resume", "quiet", "w", "--request-id", "one")
    assert served("resume", "quiet", "w", "--request-id", "one").out == "answered w of run quiet\n"
    _await_status(served, "quiet", "completed")
    assert "never changes again" in served.refuse("resume", "quiet", "w")


def test_a_run_is_cancelled_with_a_reason(served: CommandLine) -> None:
    served("start", "ask", "--run-id", "unwanted")
    _await_status(served, "unwanted", "awaiting")
    assert served("cancel", "unwanted", "--reason", "no need").out == "asked run unwanted to end\n"
    _await_status(served, "unwanted", "cancelled")
    assert "no need" in served("status", "unwanted").out
    assert served("cancel", "unwanted").out == "run unwanted is cancelled already\n"
    assert served("cancel", "unwanted", "--json").json == {
        "runId": "unwanted",
        "cancelRequested": False,
        "status": "cancelled",
    }


def test_runs_are_listed_and_children_only_when_asked_for(served: CommandLine) -> None:
    served("start", "boom", "--run-id", "listed", "--wait", "60", code=1)
    served("start", "parent", "--run-id", "with-child")
    await_true(lambda: served("runs", "--children", "--blueprint", "ask", "--json").json)
    failed = served("runs", "--status", "failed", "--since", "1h", "--json").json
    assert "listed" in [run["runId"] for run in failed]
    assert {run["status"] for run in failed} == {"failed"}
    assert all(run["parent"] is None for run in served("runs", "--limit", "1000", "--json").json)
    child = next(run for run in served("runs", "--children", "--json").json if run["parent"])
    assert child["blueprintId"] == "ask"
    assert served("runs", "--limit", "1").out.splitlines()[0].split() == [
        *("RUN", "BLUEPRINT", "STATUS", "STARTED", "TOOK", "REASON")
    ]
    assert served("runs", "--since", "2099-01-01").err == "no runs\n"
    served("cancel", "with-child")


def test_start_without_an_app_takes_the_blueprint_of_the_last_run(served: CommandLine) -> None:
    served("start", "chain", "--wait", "60")
    outcome = served("start", "chain", "--wait", "60", "--json", FLOWCRAFT_APP="")
    assert outcome.json["status"] == "completed"
    assert "without an app: taking the blueprint of run" in outcome.err
    assert "'unheard' is not known here" in served.refuse("start", "unheard", FLOWCRAFT_APP="")


def test_unknown_things_are_named_with_what_to_do(served: CommandLine) -> None:
    for arguments in (("status", "nobody"), ("cancel", "nobody"), ("resume", "nobody", "w")):
        assert served.refuse(*arguments).startswith("error: run 'nobody' is not known. List runs with")
    assert served.refuse("start", "nothing").startswith(
        "error: blueprint 'nothing' is not known here. Known: ask, boom"
    )


def test_a_run_of_an_unknown_sub_blueprint_fails_with_a_reason(served: CommandLine) -> None:
    result = served("start", "orphan", "--wait", "60", "--json", code=1).json
    assert "nowhere" in result["reason"]


def test_a_context_over_the_limit_is_refused(served: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "context.json"
    path.write_text(json.dumps({"text": "x" * 5_000_000}))
    line = served.refuse("start", "chain", "--run-id", "heavy", "--context", f"@{path}")
    assert line.startswith("error: context has 5000011 bytes, over the limit of 4194304. Keep large data")
    assert "not known" in served.refuse("status", "heavy")


def test_a_picture_of_a_run_has_its_colours(served: CommandLine, tmp_path: Path) -> None:
    served("start", "chain", "--run-id", "drawn", "--wait", "60")
    drawn = served("graph", "--run", "drawn").out
    assert drawn.startswith("flowchart TD\n")
    assert drawn.count("style n") == 2
    path = tmp_path / "chain.json"
    path.write_text('{"id": "chain", "nodes": [{"id": "z", "uses": "add"}]}')
    other = served("graph", path, "--run", "drawn")
    assert other.out == drawn
    assert "follows another version of blueprint 'chain'" in other.err


def test_doctor_names_variables_that_are_misspelt(alone: CommandLine) -> None:
    report = alone("doctor", "--json").json
    assert next(check for check in report["checks"] if check["name"] == "settings")["warning"] is None
    shown = alone("doctor", FLOWCRAFT_CONCURENCY="5", FLOWCRAFT_MODEL_URL="http://127.0.0.1:9/", KAFKA_BROKER="x").out
    told = next(line for line in shown.splitlines() if line.startswith("settings"))
    assert told.split(maxsplit=2)[1:] == [
        "WARNING",
        "FLOWCRAFT_CONCURENCY is ignored: did you mean FLOWCRAFT_CONCURRENCY?",
    ], "variables of other programs, and of servers that are not used, are nobody's business"


def test_a_run_that_is_not_there_gets_the_names_that_are_close(alone: CommandLine) -> None:
    for run_id in ("order-7", "4f1c2d3e-aaaa", "x"):
        alone("start", "ask", "--run-id", run_id)
    told = "is not known. Did you mean {}? List runs with"
    for command in (("status",), ("cancel",), ("retry",), ("graph", "--run")):
        assert told.format("'order-7'") in alone.refuse(*command, "oder-7")
    assert told.format("'4f1c2d3e-aaaa'") in alone.refuse("resume", "4f1c", "w")
    assert "is not known. List runs with" in alone.refuse("status", "y")
    assert "blueprint 'chian' is not known here. Did you mean 'chain'? Known: " in alone.refuse("start", "chian")


def test_doctor_finds_everything_well(served: CommandLine) -> None:
    report = served("doctor", "--json").json
    assert report["ok"] is True
    assert {check["name"] for check in report["checks"]} >= {"sqlite", "workers", "queue", "dead letters", "clock"}
    assert [worker["slot"] for worker in report["workers"] if worker["state"] == "alive"] == ["shared"]
    assert report["settings"]["home"] == str(served.home)
    assert report["versions"]["dagster"].startswith("1.")
    assert "1 alive (shared)" in served("doctor").out


def test_reconcile_finds_nothing_to_do_among_healthy_runs(served: CommandLine) -> None:
    stats = served("reconcile", "--json").json
    assert (stats["stalled"], stats["failed"], stats["reconciledRuns"]) == (0, 0, [])
    assert "0 stalled, 0 reconciled, 0 failed" in served("reconcile").out


def test_init_makes_what_is_missing_once(alone: CommandLine) -> None:
    made = alone("init", "--json").json["made"]
    assert str(alone.home) in made
    assert alone("init", "--json").json["made"] == []
    assert alone("init").out == "everything is there already\n"


def test_status_answers_fast_and_imports_no_dagster(served: CommandLine) -> None:
    served("start", "chain", "--run-id", "fast", "--wait", "60")
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        served("status", "fast")
        taken.append(time.perf_counter() - began)
    # A quarter of a second on an idle machine; importing Dagster takes more than two.
    assert min(taken) < 1.0
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flowcraft_dagster.cli", "status", "fast"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=served.environment,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "flowcraft_dagster" in imported
    assert not imported & {"dagster", "confluent_kafka", "cassandra", "redis", "tests"}


def test_output_may_go_to_a_reader_that_leaves_early(served: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flowcraft_dagster.cli", "runs", "--json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
            env=served.environment,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", [("status", "x", "--json"), ("runs", "--json"), ("doctor", "--json")])
def test_a_data_folder_that_cannot_be_used_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a-file"
    path.touch()
    cli = CommandLine(path / "home")
    if command[0] == "doctor":
        report = cli(*command, code=1).json
        assert report["ok"] is False
        assert "cannot write to" in report["checks"][0]["detail"]
    else:
        line = cli.refuse(*command)
        assert line.startswith(f"error: cannot write to {path}")
        assert "FLOWCRAFT_HOME" in line
