from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from flowcraft_dagster.cli.interruption import run_until_signalled
from flowcraft_dagster.cli.progress import ProgressLine


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with ProgressLine("cases", 10) as line:
        line.move("0 failed")
        now += 6
        line.move("1 failed", 3)
        line.move("1 failed", 3)
        now += 6
        line.move(amount=3)
    assert capsys.readouterr().err == "4 of 10 cases, 1 failed\n10 of 10 cases\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_clean_up(number: signal.Signals) -> None:
    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(number)

    with pytest.raises(KeyboardInterrupt):
        run_until_signalled(work())
    assert cleaned == [number]


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert run_until_signalled(work()) == 7
