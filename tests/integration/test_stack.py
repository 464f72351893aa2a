"""scripts/stack as its users call it, with a real Redis, the server that starts fastest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stack"

pytestmark = pytest.mark.redis


class Command:
    """``scripts/stack`` on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *words: str, expect: int = 0) -> str:
        done = subprocess.run(
            [SCRIPT, "--data", self.data, *words], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == expect, done.stderr
        return done.stdout

    def server(self, *, expect: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json", expect=expect))["servers"]["redis"]
        return found


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[tuple[Command, Command]]:
    """Two stacks with a Redis each, side by side."""
    both = Command(tmp_path / "one"), Command(tmp_path / "two")
    try:
        for stack in both:
            stack("up", "--local", "--with", "redis", "--redis-port", "0")
        yield both
    finally:
        for stack in both:
            stack("down", "--delete")


def set_and_get(stack: Command, value: str) -> bytes:
    address = stack("env").strip().removeprefix("export REDIS_URL=")
    with redis.Redis.from_url(address) as client:
        client.setnx("stack", value)
        found = client.get("stack")
    assert isinstance(found, bytes)
    return found


def test_two_stacks_do_not_meet(stacks: tuple[Command, Command]) -> None:
    one, two = stacks
    assert set_and_get(one, "one") == b"one"
    assert set_and_get(two, "two") == b"two"
    one("down")
    assert one.server(expect=1)["running"] is False
    assert two.server()["healthy"] is True


def test_up_leaves_a_running_server_as_it_is(stacks: tuple[Command, Command]) -> None:
    before = stacks[0].server()
    stacks[0]("up", "--with", "redis")
    assert stacks[0].server() == before


def test_another_port_for_a_known_server_is_refused(stacks: tuple[Command, Command]) -> None:
    one, two = stacks
    one("up", "--with", "redis", "--redis-port", str(two.server()["port"]), expect=1)
    assert one.server()["healthy"] is True


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_one_server_ends_and_starts_again_on_its_port(stacks: tuple[Command, Command], end: str) -> None:
    stack = stacks[0]
    before = stack.server()
    stack(end, "redis")
    assert stack.server(expect=1)["running"] is False
    stack("start", "redis")
    after = stack.server()
    assert after["healthy"] is True
    assert after["port"] == before["port"]
    assert after["pid"] != before["pid"]


def test_a_server_that_died_by_itself_is_noticed_and_started_again(stacks: tuple[Command, Command]) -> None:
    stack = stacks[0]
    os.kill(stack.server()["pid"], signal.SIGKILL)
    assert stack.server(expect=1)["healthy"] is False
    stack("up", "--with", "redis")
    assert stack.server()["healthy"] is True


def test_a_frozen_server_runs_but_does_not_answer_and_can_be_ended(stacks: tuple[Command, Command]) -> None:
    stack = stacks[0]
    os.kill(stack.server()["pid"], signal.SIGSTOP)
    frozen = stack.server(expect=1)
    assert (frozen["running"], frozen["healthy"]) == (True, False)
    stack("down")
    assert stack.server(expect=1)["running"] is False
