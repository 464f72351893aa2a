"""Suspects run in real processes of their own, and only deaths there count."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
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
from flowcraft_dagster.runtime.backoff import Patience
from flowcraft_dagster.runtime.isolation import Isolator
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import make_backend
from tests.integration.crashing_app import app

TARGET = "tests.integration.crashing_app:app"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def isolator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Isolator]:
    monkeypatch.chdir(ROOT)
    clock = SystemClock()
    backend = make_backend(Settings(backend="memory"), clock)
    header = RunHeader("run", "b", "0" * 64, "0" * 64, "running", 1, None, 0, 0.0, 0.0)
    await backend.state.create_run(header, b"{}")
    patience = Patience(clock, random.Random(0), 0.01, 0.1)
    made = Isolator(TARGET, backend.index, RuntimeOptions(max_crashes=3), clock, patience)
    yield made
    await made.close()


async def _run(isolator: Isolator, uses: str, **params: Any) -> Outcome:
    execution = Execution(
        run_id="run",
        blueprint_id="b",
        node=NodeSpec("n", uses, params, None, NodeConfig()),
        activation=Activation("n", (1,)),
        implementation=app.nodes.find(uses),
        input=Stored(encode({"a": [1]})),
        snapshot=MappingReader({"k": "v"}),
        first_attempt=1,
        report=lambda kind, payload: None,
    )
    return await isolator.run(execution)


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
