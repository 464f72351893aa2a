from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.cli import main

GOOD: dict[str, Any] = {
    "nodes": [{"id": "a", "uses": "add", "inputs": "n"}, {"id": "b", "uses": "add"}],
    "edges": [{"source": "a", "target": "b"}],
}

REFUSED: list[tuple[str, object, str]] = [
    ("duplicate", {"nodes": [{"id": "a", "uses": "x"}, {"id": "a", "uses": "x"}]}, "node 'a', field 'id'"),
    ("unknown node", {**GOOD, "edges": [{"source": "a", "target": "c"}]}, "edge 'a -> c'"),
    ("no start", {**GOOD, "edges": [{"source": "q", "target": "b"}]}, "edge 'q -> b'"),
    (
        "expression",
        {**GOOD, "edges": [{"source": "a", "target": "b", "condition": "a >"}]},
        "field 'edges[0].condition'",
    ),
    ("config", {"nodes": [{"id": "a", "uses": "add", "config": {"maxRetries": "three"}}]}, "node 'a', field 'config"),
    ("timeout", {"nodes": [{"id": "a", "uses": "add", "config": {"timeout": "1s"}}]}, "node 'a', field 'config"),
    (
        "join",
        {"nodes": [{"id": "a", "uses": "add", "config": {"joinStrategy": "some"}}]},
        "field 'config.joinStrategy'",
    ),
    ("no nodes", {"edges": []}, "field 'nodes': is missing"),
    ("list", [1, 2], "must be an object"),
    ("not JSON", "{'nodes': []}", "is not JSON"),
    ("empty", "", "is not JSON"),
]


@pytest.mark.parametrize("command", ["run", "lint", "graph"])
@pytest.mark.parametrize(("name", "document", "told"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_a_bad_file_gets_one_line_that_says_what_and_where(
    name: str, document: object, told: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    code = main([command, str(path)])
    shown = capsys.readouterr()
    if command == "graph" and name == "expression":
        # An expression is only shown there.
        assert code == 0
        return
    assert code == 1
    line = shown.out.splitlines()[0] if shown.out else shown.err
    assert "error" in line
    assert "blueprint 'bad'" in line
    assert told in line
    assert "flowcraft-dagster lint" in line
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(("name", "document", "told"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_lint_refuses_is_json_for_programs(
    name: str, document: object, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    assert main(["lint", str(path), "--json"]) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert (report["valid"], report["blueprintId"], report["issues"][0]["code"]) == (False, "bad", "REFUSED")
    assert told in report["issues"][0]["message"]
    assert shown.err == ""
