"""What must never happen: when a rule is broken in the code, the test that guards it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.breaking import VARIABLE
from tests.mutation.never import NEVER

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "design" / "never.md"
BREACHES = [(rule, place) for rule, breaches in NEVER.items() for place in range(len(breaches))]
TEST_FAILED = 1


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "place"), BREACHES, ids=[f"{rule}/{place}" for rule, place in BREACHES])
def test_a_broken_rule_is_noticed(rule: str, place: int) -> None:
    breach = NEVER[rule][place]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutation.breaking", "-p", "no:cacheprovider"),
            # A run that is lost may be waited for in vain: that is a failure like any other.
            *("--timeout", "100"),
            *("-m", "not kafka and not cassandra and not redis", breach.test),
        ],
        cwd=ROOT,
        env={**os.environ, VARIABLE: f"{rule}/{place}", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == TEST_FAILED, f"nobody notices that {breach.how}:\n{done.stdout[-3000:]}{done.stderr}"


def make_table() -> str:
    """The rules, the tests and how each was broken, as they stand in the page."""
    lines = ["| What must never happen | Broken on purpose by | Noticed by |", "|---|---|---|"]
    for rule, breaches in NEVER.items():
        for place, breach in enumerate(breaches):
            path, _, name = breach.test.partition("::")
            shown = f"[{Path(path).name}](../../{path})" + (f" `{name}`" if name else "")
            lines.append(f"| {f'**{rule}**' if place == 0 else ''} | {breach.how} | {shown} |")
    return "\n".join(lines) + "\n"


def test_the_page_shows_every_rule_and_breach() -> None:
    assert make_table() in PAGE.read_text(encoding="utf-8"), "python -m tests.mutation.test_never > TABLE renews it"


if __name__ == "__main__":
    sys.stdout.write(make_table())
