"""Blueprint files on the command line: what is run, linted and drawn, and what is refused with one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.command_line import CommandLine

GOOD: dict[str, Any] = {
    "nodes": [{"id": "a", "uses": "add", "inputs": "n"}, {"id": "b", "uses": "add"}],
    "edges": [{"source": "a", "target": "b"}],
}


def _write(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_runs_in_memory_under_its_own_name(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "sums.json", GOOD)
    result = alone("run", path, "--context", '{"n": 1}', "--json").json
    assert (result["blueprintId"], result["status"], result["outputs"]) == ("sums", "completed", {"a": 2, "b": 3})
    shown = alone("run", path, "--context", "@-", stdin='{"n": 4}')
    assert "  b: 6" in shown.out
    assert not alone.home.exists()


def test_a_named_file_goes_before_the_apps_blueprint_of_that_id(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "chain.json", {"nodes": [{"id": "other", "uses": "const", "params": {"value": 7}}]})
    assert alone("run", path, "--json").json["outputs"] == {"other": 7}


def test_a_failed_run_in_memory_has_exit_code_1(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "f.json", {"nodes": [{"id": "a", "uses": "fail"}]})
    outcome = alone("run", path, "--events", code=1)
    assert "reason     node 'a': RuntimeError: boom" in outcome.out
    assert "node:error activation=a error=boom" in outcome.err.splitlines()


def test_a_run_in_memory_sleeps_and_then_stops_at_a_wait(alone: CommandLine, tmp_path: Path) -> None:
    nodes = [{"id": "s", "uses": "sleep", "params": {"duration": 50}}, {"id": "w", "uses": "wait"}]
    path = _write(tmp_path / "s.json", {"nodes": nodes, "edges": [{"source": "s", "target": "w"}]})
    outcome = alone("run", path, "--json", code=1)
    assert outcome.json["status"] == "awaiting"
    assert [wait["node"] for wait in outcome.json["waiting"]] == ["w"]
    assert "the run waits" in outcome.err


def test_a_run_in_memory_may_take_too_long(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "s.json", {"nodes": [{"id": "s", "uses": "sleep", "params": {"duration": "1h"}}]})
    assert "is still awaiting after" in alone.refuse("run", path, "--timeout", "0.2")


def test_sub_blueprints_may_lie_in_a_folder(alone: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    _write(folder / "sums.json", GOOD)
    path = _write(tmp_path / "p.json", {"nodes": [{"id": "p", "uses": "subflow", "params": {"blueprintId": "sums"}}]})
    assert alone("run", path, "--blueprints", folder, "--json").json["outputs"] == {"p": 2}


def test_what_nodes_print_does_not_get_between_the_json(alone: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from flowcraft_dagster.app import Flowcraft\nprint('at import')\napp = Flowcraft()\n"
        "@app.node('shout')\nasync def shout(ctx):\n    print('in the node')\n    return 1\n"
    )
    path = _write(tmp_path / "s.json", {"nodes": [{"id": "a", "uses": "shout"}]})
    outcome = alone(
        "run", path, "--app", "loud:app", "--json", PYTHONPATH=f"{tmp_path}:{alone.environment['PYTHONPATH']}"
    )
    assert outcome.json["outputs"] == {"a": 1}
    assert outcome.err.split("\n")[:2] == ["at import", "in the node"]


def test_a_bad_file_gets_one_line(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "bad.json", {"nodes": [{"id": "a", "uses": "x"}, {"id": "a", "uses": "x"}]})
    line = alone.refuse("run", path)
    assert line.startswith("error: blueprint 'bad', node 'a', field 'id': is used by an earlier node too.")
    assert "flowcraft-dagster lint" in line


def test_a_missing_file_and_a_folder_get_one_line(alone: CommandLine, tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in alone.refuse("run", tmp_path / "nowhere.json", code=2)
    assert "cannot be read: Is a directory" in alone.refuse("lint", tmp_path, code=2)


def test_a_file_of_50_mb_is_not_even_read(alone: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    line = alone.refuse("run", path)
    assert line.startswith(f"error: blueprint file '{path}' has 52428800 bytes, over the limit of 10485760.")


def test_a_node_kind_that_is_missing_is_named(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "k.json", {"nodes": [{"id": "a", "uses": "nosuch"}]})
    line = alone.refuse("run", path)
    assert line.startswith("error: no node kind 'nosuch' is registered here. Register it with @app.node('nosuch')")


def test_lint_tells_all_issues_with_codes(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(
        tmp_path / "l.json",
        {
            "nodes": [
                {"id": "a", "uses": "nosuch"},
                {"id": "p", "uses": "subflow", "params": {"blueprintId": "nowhere"}},
                {"id": "x", "uses": "add"},
                {"id": "y", "uses": "add"},
            ],
            "edges": [
                {"source": "a", "target": "p"},
                {"source": "p", "target": "x", "transform": "nope.a"},
                {"source": "x", "target": "y"},
                {"source": "y", "target": "x"},
            ],
        },
    )
    report = alone("lint", path, "--json", code=1).json
    assert report["valid"] is False
    codes = {issue["code"]: issue for issue in report["issues"]}
    assert codes.keys() >= {
        "MISSING_NODE_IMPLEMENTATION",
        "INVALID_SUBFLOW_BLUEPRINT_ID",
        "UNKNOWN_NAME",
        "CYCLE_WITHOUT_CONTROLLER",
    }
    assert codes["MISSING_NODE_IMPLEMENTATION"]["node"] == "a"
    assert all(issue["hint"] for issue in report["issues"])
    shown = alone("lint", path, code=1).out
    assert f"{path}: error MISSING_NODE_IMPLEMENTATION: " in shown
    without_app = alone("lint", path, "--json", code=1, FLOWCRAFT_APP="").json
    assert "MISSING_NODE_IMPLEMENTATION" not in {issue["code"] for issue in without_app["issues"]}


def test_lint_tells_every_reason_to_refuse_a_file(alone: CommandLine, tmp_path: Path) -> None:
    document = {"nodes": [{"id": "a"}, {"uses": "x"}], "edges": [{"source": "a", "target": "z"}]}
    report = alone("lint", _write(tmp_path / "r.json", document), "--json", code=1).json
    assert (report["blueprintId"], report["valid"]) == ("r", False)
    assert [issue["code"] for issue in report["issues"]] == ["REFUSED"] * len(report["issues"])
    assert len(report["issues"]) >= 3


def test_lint_is_silent_about_a_good_file(alone: CommandLine, tmp_path: Path) -> None:
    path = _write(tmp_path / "sums.json", GOOD)
    assert alone("lint", path).out == f"{path}: 0 errors, 0 warnings\n"
    assert alone("lint", path, "--json").json == {"file": str(path), "blueprintId": "sums", "valid": True, "issues": []}


def test_graph_draws_a_file(alone: CommandLine, tmp_path: Path) -> None:
    drawn = alone("graph", _write(tmp_path / "sums.json", GOOD)).out
    assert drawn == 'flowchart TD\n    n0["a"]\n    n1["b"]\n    n0 --> n1\n'
