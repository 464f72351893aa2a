"""A blueprint that was added after the code location had been loaded is launched by `blueprint_id_other`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demo.dagster_api import DagsterApiError
from examples.demo.site import Site, choose_port
from flowcraft_dagster import Client, Settings, load_app
from tests.site_runs import run_site

PATIENCE_SECONDS = 240.0
APP = """
from pathlib import Path
from flowcraft_dagster import Flowcraft

app = Flowcraft(Path(__file__).parent / "blueprints", {"double": lambda ctx: ctx.input * 2})
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def describe(blueprint_id: str) -> dict[str, Any]:
    return {"id": blueprint_id, "nodes": [{"id": "a", "uses": "double", "inputs": "n"}], "edges": []}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "late_app.py").write_text(APP)
    blueprints = tmp_path / "blueprints"
    blueprints.mkdir()
    (blueprints / "early.json").write_text(json.dumps(describe("early")))
    monkeypatch.syspath_prepend(str(tmp_path))
    return blueprints


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    site = Site(folder.parent / "dagster", choose_port(0), "late_app:app")
    site.environment = {**site.environment, "PYTHONPATH": os.pathsep.join([str(folder.parent), *_places()])}
    with run_site(site):
        yield site


def _places() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def test_a_blueprint_added_since_the_location_was_loaded_is_launched(site: Site, folder: Path) -> None:
    def launch(**config: Any) -> str:
        return site.api.launch("start_flowcraft_runs", {"ops": {"start_flowcraft_runs_op": {"config": config}}})

    (folder / "late.json").write_text(json.dumps(describe("500")))
    # The list of the loaded location does not have it.
    with pytest.raises(DagsterApiError):
        launch(blueprint_id="500", context={"n": 1})
    run_ids = [launch(blueprint_id_other=written, context={"n": 21}) for written in (500, "500")]

    with load_app("late_app:app").client(Settings.from_env(site.environment)) as client:
        results = [client.wait(_await(client, run_id), PATIENCE_SECONDS) for run_id in run_ids]
    assert [(result.blueprint_id, result.outputs) for result in results] == [("500", {"a": 42})] * 2


def _await(client: Client, run_id: str) -> str:
    """The workflow of a Dagster run, once that has started it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while run_id not in {header.run_id for header in client.runs()}:
        assert time.monotonic() < deadline, "the Dagster run has started no workflow"
        time.sleep(0.1)
    return run_id
