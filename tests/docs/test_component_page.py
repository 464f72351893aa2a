"""The page about the component: what it scaffolds, its commands, and every attribute of its YAML."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from examples.demo.processes import ProcessTree
from tests.docs.pages import ROOT, read_blocks
from tests.docs.terminals import Terminal

PAGE: Final = ROOT / "docs" / "howto" / "component.md"
PATIENCE_SECONDS: Final = 240.0

# What `create-dagster project shop` makes, as far as dg needs it.
PROJECT: Final = """
[project]
name = "shop"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = ["flowcraft-dagster"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"
"""
DEFINITIONS: Final = """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    package = folder / "src" / "shop"
    (package / "defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (package / "definitions.py").write_text(DEFINITIONS)
    for place in (package, package / "defs"):
        (place / "__init__.py").touch()
    return folder


@pytest.fixture
def processes() -> Iterator[ProcessTree]:
    processes = ProcessTree()
    try:
        yield processes
    finally:
        processes.end()
        assert processes.find() == []


@pytest.fixture
def terminals(project: Path, processes: ProcessTree) -> list[Terminal]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCRAFT_", "DAGSTER_"))}
    environment = {
        **own,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}",
        "PYTHONPATH": str(project / "src"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        # One wide line a row of the tables.
        "COLUMNS": "300",
    }
    return [Terminal(processes, project, environment, project.parent / f"{number}.log") for number in range(2)]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_scaffolded_is_checked_listed_and_run(project: Path, terminals: list[Terminal]) -> None:
    first, second = terminals
    scaffold, check, work, launch = read_blocks(PAGE, "sh")
    first.run(scaffold, PATIENCE_SECONDS)
    (tree,) = read_blocks(PAGE, "")
    place = project / "src" / "shop" / "defs" / "letters"
    made = {str(path.relative_to(place)) for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert {Path(path).name for path in made} == set(re.findall(r"── ([\w.]+)", tree))

    listed = first.run(check, PATIENCE_SECONDS)
    assert "All component YAML validated successfully." in listed
    assert "All definitions loaded successfully." in listed
    for name in ("flowcraft/hello", "start_flowcraft_runs", "flowcraft_status_sensor", "runs_succeed"):
        assert name in listed

    second.type(work)
    second.await_text(" ready: ", PATIENCE_SECONDS)
    assert "RUN_SUCCESS" in first.run(launch, PATIENCE_SECONDS)
    assert "completed" in first.run("flowcraft-dagster runs", PATIENCE_SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_of_all_attributes_is_valid(project: Path, terminals: list[Terminal]) -> None:
    (text,) = read_blocks(PAGE, "yaml")
    terminals[0].run(read_blocks(PAGE, "sh")[0], PATIENCE_SECONDS)
    place = project / "src" / "shop" / "defs" / "letters"
    (place / "defs.yaml").write_text(text)
    (place / "more_blueprints").mkdir()
    (place / "more_blueprints" / "more.json").write_text('{"id": "more", "nodes": [{"id": "a", "uses": "greet"}]}')
    (project / "src" / "shop" / "nodes.py").write_text("from flowcraft_dagster import Flowcraft\napp = Flowcraft()\n")
    listed = terminals[0].run("dg check yaml\ndg check defs\ndg list defs", PATIENCE_SECONDS)

    assert {"shop/flowcraft/hello", "shop/flowcraft/more"} <= set(re.findall(r"shop/flowcraft/\w+", listed))


def test_the_page_names_every_attribute() -> None:
    from flowcraft_dagster import FlowcraftComponent

    (text,) = read_blocks(PAGE, "yaml")
    attributes: dict[str, Any] = yaml.safe_load(text)["attributes"]
    table = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert table == list(attributes) == list(FlowcraftComponent.model_fields)
    for name in ("automation", "translation"):
        assert set(attributes[name]) == set(FlowcraftComponent.model_fields[name].default.model_dump())
