"""Sending requests to start runs from the command line, and what is left of those that are refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend
from tests.acceptance.command_line import CommandLine


def read_requests(home: Path) -> list[Any]:
    async def read() -> list[Any]:
        backend = make_backend(Settings(home=home), SystemClock())
        await backend.open()
        try:
            ranges = await backend.requests.find_ranges({}, None, 10_000)
            return [json.loads(item.value) for piece in ranges for item in await backend.requests.read_requests(piece)]
        finally:
            await backend.close()

    return asyncio.run(read())


def test_a_request_is_sent_and_its_run_id_printed_alone(alone: CommandLine) -> None:
    # Without an app: whoever asks need not have it.
    run_id = alone("request", "chain", "--context", '{"n": 1}', FLOWCRAFT_APP="").out.strip()
    assert alone("request", "chain", "--run-id", "mine", "--json").json == {"runId": "mine", "blueprintId": "chain"}
    assert read_requests(alone.home) == [
        {"blueprintId": "chain", "context": {"n": 1}, "runId": run_id},
        {"blueprintId": "chain", "context": {}, "runId": "mine"},
    ]
    assert "run 'mine' is not known" in alone.refuse("status", "mine")


def test_a_file_is_a_request_for_each_line(alone: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(1500)) + "\n")
    sent = alone("request", "chain", "--contexts-file", path, "--run-id", "monday").out.split()
    assert sent == [f"monday-{n}" for n in range(1500)]
    found = read_requests(alone.home)
    assert [request["runId"] for request in found] == sent
    assert [request["context"] for request in found] == [{"n": n} for n in range(1500)]
    shown = alone("request", "chain", "--contexts-file", "-", "--json", stdin='{"n": 1}').json
    assert shown["blueprintId"] == "chain"
    assert len(shown["runIds"]) == 1


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('{"n": 1}\n{\n', "line 2: not JSON: "),
        ('{"n": 1}\n\n[1]\n', "line 3: not a JSON object"),
        ('{"n": NaN}\n', "line 1: not JSON: NaN is no JSON value"),
    ],
)
def test_a_line_that_is_no_context_is_named_and_nothing_is_sent(
    alone: CommandLine, tmp_path: Path, lines: str, reason: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(lines)
    line = alone.refuse("request", "chain", "--contexts-file", path)
    assert line.startswith(f"error: '{path}', {reason}")
    assert line.endswith("Nothing was sent.")
    assert not alone.home.exists()


@pytest.mark.parametrize(
    ("arguments", "reason", "code"),
    [
        (("chain", "--context", "[]"), "must be a JSON object", 2),
        (("chain", "--run-id", ""), "must be 1 to 200 printable characters", 2),
        (("chain", "--contexts-file", "nosuch.jsonl"), "No such file", 2),
        (("chain", "--contexts-file", "-", "--context", "{}"), "not both", 2),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    alone: CommandLine, arguments: tuple[str, ...], reason: str, code: int
) -> None:
    assert reason in alone.refuse("request", *arguments, code=code)


def test_a_context_over_the_limit_is_refused(alone: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "context.json"
    path.write_text(json.dumps({"text": "x" * 5_000_000}))
    line = alone.refuse("request", "chain", "--context", f"@{path}")
    assert line.startswith("error: context has 5000011 bytes, over the limit of 4194304. Keep large data")
    assert read_requests(alone.home) == []
