"""The package's public names: complete, documented by __all__, and light until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flowcraft_dagster

ROOT = Path(__file__).resolve().parents[2]


def test_every_public_name_is_there() -> None:
    for name in flowcraft_dagster.__all__:
        assert getattr(flowcraft_dagster, name) is not None
    assert len(set(flowcraft_dagster.__all__)) == len(flowcraft_dagster.__all__)
    assert set(flowcraft_dagster.__all__) <= set(dir(flowcraft_dagster))


def test_type_checkers_see_the_same_names_from_the_same_places() -> None:
    tree = ast.parse(Path(flowcraft_dagster.__file__ or "").read_text(encoding="utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert seen == flowcraft_dagster._PLACES
    assert {*seen, "__version__"} == set(flowcraft_dagster.__all__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = flowcraft_dagster.nosuch


@pytest.mark.parametrize(
    ("statement", "is_light"),
    [
        ("import flowcraft_dagster", True),
        ("from flowcraft_dagster import Client, Flowcraft, Settings, RunNotFound", True),
        ("from flowcraft_dagster import FlowcraftClientResource", False),
    ],
)
def test_only_names_that_need_dagster_import_it(statement: str, is_light: bool) -> None:
    program = f"{statement}\nimport sys\nprint('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == str(not is_light)
