"""Text of a blueprint, a context or a message is data: none of it is ever run as code."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.app import Flowcraft, check_expression
from flowcraft_dagster.blueprint import draw_mermaid, lint_blueprint, parse_blueprint
from flowcraft_dagster.cli import main
from flowcraft_dagster.errors import FlowcraftError
from flowcraft_dagster.testing.conformance.nodes import nodes

PACKAGE = Path(__file__).resolve().parents[2] / "flowcraft_dagster"
FORBIDDEN = {"eval", "exec", "compile", "__import__", "system", "popen"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "codeop"}
# The only places that import by name: the app that somebody names on the command line, our own commands, a driver.
IMPORTING = {"app.py", "cli/lazy_group.py", "backends/cassandra/reactor.py"}
FILE = "evil-was-here"
PAYLOADS = (
    f"__import__('pathlib').Path('{FILE}').touch()",
    f"open('{FILE}', 'w')",
    f"(open('{FILE}', 'w') or true)",
    f"exec(\"open('{FILE}', 'w')\")",
    f"[].constructor.constructor(\"require('fs').writeFileSync('{FILE}', '')\")()",
    f"${{open('{FILE}', 'w')}}",
    f"{{{{ open('{FILE}', 'w') }}}}",
    f"context.__class__.__init__.__globals__['__builtins__']['open']('{FILE}', 'w')",
    f"!!python/object/apply:os.system ['touch {FILE}']",
    f"; touch {FILE} #",
    f"$(touch {FILE})",
    "evil_module:run",
    "evil_module.run",
)


@pytest.fixture(autouse=True)
def clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = f"open('{FILE}', 'w').close()\ndef run(ctx=None):\n    return 'ran'\n"
    (tmp_path / "evil_module.py").write_text(text, encoding="utf-8")
    sys.modules.pop("evil_module", None)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_calls_nothing_that_runs_text(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in FORBIDDEN, f"{name}:{node.lineno}"
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                assert called.value.id != "os" or called.attr not in FORBIDDEN, f"{name}:{node.lineno}"
                assert called.attr != "import_module" or name in IMPORTING, f"{name}:{node.lineno}"
            assert not any(word.arg == "shell" for word in node.keywords), f"{name}:{node.lineno}"
        elif isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & UNSAFE_MODULES, name
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in UNSAFE_MODULES, name


def _blueprints(text: str) -> list[dict[str, Any]]:
    """The text in every place that holds text."""
    first, second = {"id": "a", "uses": "const", "params": {"value": {"n": 1}}}, {"id": "b", "uses": "echo"}
    edge = {"source": "a", "target": "b"}
    return [
        {"nodes": [first, second], "edges": [edge | {"condition": text}]},
        {"nodes": [first, second], "edges": [edge | {"transform": text}]},
        {"nodes": [first, second], "edges": [edge | {"action": text}]},
        {"nodes": [first, second | {"inputs": text}], "edges": [edge]},
        {"nodes": [first, second | {"inputs": {"x": text, text: "a"}}], "edges": [edge]},
        {"nodes": [first, second | {"params": {text: text}}], "edges": [edge]},
        {"nodes": [first, second | {"uses": text}], "edges": [edge]},
        {"nodes": [first, {"id": text, "uses": "echo"}], "edges": [{"source": "a", "target": text}]},
        {"nodes": [{"id": "w", "uses": "loop-controller", "params": {"condition": text}}, second],
         "edges": [{"source": "w", "target": "b", "action": "break"}]},
        {"nodes": [{"id": "s", "uses": "subflow", "params": {"blueprintId": text, "inputs": {"x": text}}}]},
        {"nodes": [{"id": "s", "uses": "batch-scatter", "params": {"workerUsesKey": text, "gatherNodeId": text}}]},
        {"nodes": [{"id": "s", "uses": "sleep", "params": {"duration": text}}]},
        {"nodes": [{"id": "w", "uses": "wait", "params": {"eventName": text}}]},
        {"nodes": [first], "metadata": {text: text}},
    ]


@pytest.mark.parametrize("text", PAYLOADS)
def test_text_in_a_blueprint_is_never_run(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, document in enumerate(_blueprints(text)):
        try:
            blueprint = parse_blueprint({"id": "b", "edges": [], **document})
        except FlowcraftError:
            continue
        lint_blueprint(blueprint, check_expression=lambda expression: _try(check_expression, expression))
        draw_mermaid(blueprint)
        shown = "nothing"
        try:
            result = Flowcraft(blueprint, nodes).run("b", {"text": text, text: text}, timeout=20)
            shown = json.dumps(result.to_json())
        except FlowcraftError as error:
            shown = str(error)
        assert not (tmp_path / FILE).exists(), f"{number}: {document}"
        assert "evil_module" not in sys.modules
        assert "built-in" not in shown
        assert "<class" not in shown
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"id": "b", "edges": [], **_blueprints(text)[0]}), encoding="utf-8")
    for command in ("lint", "graph"):
        main([command, str(path)])
    main(["run", str(path), "--context", json.dumps({text: text}), "--timeout", "20"])
    capsys.readouterr()
    assert not (tmp_path / FILE).exists()


def _try(check: Any, expression: str) -> None:
    check(expression)
