"""Suspects run in real processes of their own, and only deaths there count."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowcraft_dagster.blueprint.model import NodeConfig, NodeSpec
from flowcraft_dagster.engine.activation import Activation
from flowcraft_dagster.engine.context import Stored
from flowcraft_dagster.engine.execution import Execution
from flowcraft_dagster.engine.isolated_form import MappingReader
from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.engine.outcome import Done, Failed, Outcome
from flowcraft_dagster.ports.records import RunHeader
from flowcraft_dagster.runtime import isolation_places
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.isolation import Isolator
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend
from tests.integration.crashing_app import app

TARGET = "tests.integration.crashing_app:app"
ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def _open_isolator(target: str = TARGET, **options: Any) -> AsyncIterator[Isolator]:
    clock = SystemClock()
    backend = make_backend(Settings(backend="memory"), clock)
    header = RunHeader("run", "b", "0" * 64, "0" * 64, "running", 1, None, 0, 0.0, 0.0)
    await backend.state.create_run(header, b"{}")
    patience = Patience(clock, random.Random(0), 0.01, 0.1)
    made = Isolator(target, backend.index, RuntimeOptions(max_crashes=3, **options), clock, patience)
    try:
        yield made
    finally:
        processes = list(made._all)
        await made.close()
        assert all(process._process and process._process.returncode is not None for process in processes)


@pytest.fixture
async def isolator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Isolator]:
    monkeypatch.chdir(ROOT)
    async with _open_isolator() as made:
        yield made


async def _run(isolator: Isolator, uses: str, run_id: str = "run", **params: Any) -> Outcome:
    execution = Execution(
        run_id=run_id,
        blueprint_id="b",
        node=NodeSpec("n", uses, params, None, NodeConfig()),
        activation=Activation("n", (1,)),
        implementation=app.nodes.find("tell"),
        input=Stored(encode({"a": [1]})),
        snapshot=MappingReader({"k": "v"}),
        first_attempt=1,
        report=lambda kind, payload: None,
    )
    return await isolator.run(execution)


async def _until(holds: Callable[[], bool]) -> None:
    """What other processes do cannot be awaited."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _has_trouble(running: asyncio.Future[Outcome], patience: Patience, text: str) -> bool:
    return running.done() or text in (patience.trouble or "")


async def test_an_isolated_node_sees_and_gives_what_it_would_here(isolator: Isolator) -> None:
    outcome = await _run(isolator, "tell")
    assert isinstance(outcome, Done)
    assert outcome.output is not None
    told = outcome.output.copy()
    assert told.pop("pid") != os.getpid()
    assert told == {"input": {"a": [1]}, "k": "v", "key": "run/n#1"}
    assert [(key, value and value.copy()) for key, value in outcome.writes] == [("written", [1, None])]


async def test_a_node_that_kills_its_process_again_and_again_fails(isolator: Isolator, tmp_path: Path) -> None:
    outcome = await _run(isolator, "crash", file=str(tmp_path / "deaths"), times=99)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.type, outcome.failure.fatal) == ("NodeCrashLoop", True)
    assert (tmp_path / "deaths").read_text(encoding="utf-8") == "xxx"


async def test_a_node_that_recovers_in_time_does_not_fail(isolator: Isolator, tmp_path: Path) -> None:
    outcome = await _run(isolator, "crash", file=str(tmp_path / "deaths"), times=2)
    assert isinstance(outcome, Done)


async def test_suspects_run_side_by_side_each_alone(isolator: Isolator, tmp_path: Path) -> None:
    running = [asyncio.ensure_future(_run(isolator, "hold", folder=str(tmp_path), until="go")) for _ in range(3)]
    await _until(lambda: len(list(tmp_path.glob("began-*"))) == 3)
    (tmp_path / "go").touch()
    outputs = [outcome.output for outcome in await asyncio.gather(*running) if isinstance(outcome, Done)]
    assert len({output.copy() for output in outputs if output is not None}) == 3


async def test_a_long_suspect_makes_room_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(isolation_places, "LONG_SECONDS", 0.5)
    async with _open_isolator(isolated_processes=1) as isolator:
        long = asyncio.ensure_future(_run(isolator, "hold", "long", folder=str(tmp_path), until="go"))
        assert isinstance(await _run(isolator, "tell", "other"), Done)
        assert not long.done()
        (tmp_path / "go").touch()
        assert isinstance(await long, Done)


async def test_what_an_isolated_node_gives_may_be_large(isolator: Isolator) -> None:
    outcome = await _run(isolator, "write")
    assert isinstance(outcome, Done)
    assert [len(value.data) for _, value in outcome.writes if value is not None] == [1_000_002] * 5


async def test_an_app_that_cannot_be_loaded_is_no_nodes_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "deployed_app.py"
    monkeypatch.chdir(tmp_path)
    for broken in ("raise RuntimeError('half deployed')", "import os; os._exit(9)", "app = 1"):
        place.write_text(broken, encoding="utf-8")
        async with _open_isolator("deployed_app:app") as isolator:
            running = asyncio.ensure_future(_run(isolator, "late"))
            await _until(partial(_has_trouble, running, isolator._patience, "deployed_app"))
            assert not running.done()
            # Deployed at last, but without the node kind at first.
            head = "from flowcraft_dagster import Flowcraft\napp = Flowcraft()\n"
            place.write_text(head, encoding="utf-8")
            await _until(partial(_has_trouble, running, isolator._patience, "no node kind"))
            place.write_text(f"{head}app.nodes.register('late', lambda ctx: 'here')\n# whole\n", encoding="utf-8")
            outcome = await asyncio.wait_for(running, 60)
            assert isinstance(outcome, Done), outcome
            assert await isolator._index.count_death("run", "n#1") == 1, "nothing was counted before"


async def test_who_is_cancelled_leaves_no_process(isolator: Isolator, tmp_path: Path) -> None:
    running = asyncio.ensure_future(_run(isolator, "hold", folder=str(tmp_path), until="never"))
    await _until(lambda: bool(list(tmp_path.glob("began-*"))))
    (process,) = isolator._all
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert isolator._all == set()
    assert process._process is not None
    assert process._process.returncode == -9
