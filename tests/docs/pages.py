"""The project's Markdown pages, and what a test looks at in them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "examples" / "moderation" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

# Raised inside Dagster about its own use of pydantic.
DAGSTERS_OWN = ("-W", "ignore:The `__fields__` attribute is deprecated")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PRINT = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def name_page(page: Path) -> str:
    """How a test names a page."""
    return str(page.relative_to(ROOT))


def read_blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    text = page.read_text(encoding="utf-8")
    return [body for found, body in _BLOCK.findall(text) if found == language]


def read_prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def list_links(page: Path) -> Iterator[str]:
    """Targets of links and images."""
    for _, target in _LINK.findall(read_prose(page)):
        yield target


def list_anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    anchors = set()
    for heading in _HEADING.findall(read_prose(page)):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        anchors.add(kept.strip().replace(" ", "-"))
    return anchors


def find_expected_output(program: str) -> list[str]:
    """What the comments behind ``print(...)`` say will be printed, in order."""
    return _PRINT.findall(program)


def run_program(program: str, folder: Path) -> list[str]:
    """Run a block as a program of its own and return the lines it printed.

    Raises:
        AssertionError: it failed; with its standard error.
    """
    file = folder / "block.py"
    file.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", *DAGSTERS_OWN, str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "FLOWCRAFT_HOME": str(folder / "home")},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
