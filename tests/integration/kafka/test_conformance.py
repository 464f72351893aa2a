"""Promise 1 on real servers: every case ends as in memory, also when workers are killed or Redis forgets everything.

The cases are the given ones where they lie beside the project, otherwise the project's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

ROOT = Path(__file__).resolve().parents[3]
GIVEN = ROOT.parent / "shared" / "conformance" / "cases.json"
OWN = ROOT / "tests" / "conformance" / "cases"
LIMIT_SECONDS = 900

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.cassandra,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_SECONDS + 60),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN.is_file():
        return GIVEN
    own = [case for path in sorted(OWN.glob("*.json")) for case in json.loads(path.read_text())]
    together = tmp_path_factory.mktemp("conformance") / "cases.json"
    together.write_text(json.dumps(own))
    return together


def run_cases(cases: Path, stack: dict[str, str], *options: str) -> dict[str, Any]:
    """Every case on workers of its own; the report."""
    command = [sys.executable, "-m", "flowcraft_dagster.cli", "conformance", str(cases)]
    done = subprocess.run(
        [*command, "--backend", "kafka", "--json", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **stack, "KAFKA_SESSION_SECONDS": "1.5"},
        timeout=LIMIT_SECONDS,
    )
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    wrong = [f"{case['name']}: {case['difference']}" for case in report["cases"] if not case["ok"]]
    assert not wrong, "\n".join(wrong[:20])
    assert done.returncode == 0, done.stderr
    assert report["passed"] == len(json.loads(cases.read_text()))
    return report


@contextmanager
def forgetful_redis(url: str, seconds: float = 1.0) -> Iterator[list[int]]:
    """A Redis that is flushed all the time; counts how many keys it lost."""
    lost: list[int] = []
    over = threading.Event()

    def flush() -> None:
        with redis.Redis.from_url(url) as client:
            while not over.wait(seconds):
                lost.append(int(client.dbsize()))
                client.flushall()

    flushing = threading.Thread(target=flush)
    flushing.start()
    try:
        yield lost
    finally:
        over.set()
        flushing.join()


def test_one_worker_gives_the_same(cases: Path, stack: dict[str, str]) -> None:
    run_cases(cases, stack, "--workers", "1")


def test_three_workers_give_the_same_while_redis_forgets_everything_each_second(
    cases: Path, stack: dict[str, str]
) -> None:
    with forgetful_redis(stack["REDIS_URL"]) as lost:
        run_cases(cases, stack, "--workers", "3")
    assert sum(lost) > 0


@pytest.mark.chaos
def test_three_workers_give_the_same_while_they_are_killed(cases: Path, stack: dict[str, str]) -> None:
    report = run_cases(cases, stack, "--workers", "3", "--kill-interval", "2")
    assert report["killed"] >= report["passed"] // 20
