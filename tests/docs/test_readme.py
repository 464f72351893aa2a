"""The README's promises about itself: its first blueprint runs, and it says what must be in it."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # the picture is our own file
from pathlib import Path

from tests.docs.pages import ROOT, find_expected_output, list_links, read_blocks, run_program

README = ROOT / "README.md"


def test_the_first_blueprint_has_ten_lines_and_runs(tmp_path: Path) -> None:
    (program,) = read_blocks(README, "python")
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 10
    assert run_program(program, tmp_path) == find_expected_output(program) == ["HELLO ADA"]


def test_the_two_commands_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    for command in ("./scripts/demo", "./scripts/test"):
        assert command in text
        assert (ROOT / command).is_file(), f"{command} is missing"


def test_every_promise_links_to_tests_that_exist() -> None:
    section = README.read_text(encoding="utf-8").partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]
    assert len(rows) == 7
    for row in rows:
        assert "](tests/" in row, row
    for target in list_links(README):
        if target.startswith("tests/"):
            place = ROOT / target
            files = [place] if place.is_file() else list(place.rglob("test_*.py"))
            assert files, f"{target} holds no test"


def test_the_picture_is_readable_in_light_and_dark() -> None:
    text = (ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 - our own file
    assert "prefers-color-scheme: dark" in text
    shown = " ".join(element.text or "" for element in root.iter())
    for part in ("Client", "Workers", "Kafka", "Cassandra", "Redis", "Dagster"):
        assert part in shown
