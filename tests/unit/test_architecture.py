"""The shape of the package: who imports whom, how long modules are, what they are called."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flowcraft_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 500
# Names that say nothing about what is inside.
VAGUE_NAMES = {"base", "common", "core", "helpers", "lib", "manager", "managers", "misc", "shared", "util", "utils"}
PURE_PACKAGES = ("engine", "blueprint")


def _imported_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_imports_follow_the_contracts_in_pyproject() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-logo", "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import flowcraft_dagster",
        "import flowcraft_dagster.cli",
        "from flowcraft_dagster import Flowcraft",
    ],
)
def test_light_imports_leave_dagster_out(statement: str) -> None:
    imported = _imported_after(statement)
    assert "flowcraft_dagster" in imported
    assert not {name for name in imported if name.startswith("dagster")}


def test_the_probe_for_light_imports_sees_dagster() -> None:
    assert "dagster" in _imported_after("import dagster")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short_and_its_name_says_what_is_inside(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{path.name} has {lines} lines: one idea per module"
    assert not VAGUE_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_pure_packages_open_no_files(package: str) -> None:
    for path in sorted((PACKAGE / package).rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        names = {node.func.id: node.lineno for node in calls if isinstance(node.func, ast.Name)}
        assert not names.keys() & {"open", "print", "input"}, f"{path.name}: {names}"
