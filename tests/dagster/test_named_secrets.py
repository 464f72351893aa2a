"""A context that names a secret, as the pages advise: the secret itself is stored nowhere, by nobody."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest

from flowcraft_dagster import Flow, Flowcraft, NodeContext
from flowcraft_dagster.orchestration.catalogue import build_catalogue
from flowcraft_dagster.orchestration.connection import register_app
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.presenter import Presenter
from flowcraft_dagster.orchestration.resources import EmbeddedStoreResource, FlowcraftClientResource
from flowcraft_dagster.orchestration.translator import FlowcraftDagsterTranslator
from tests.dagster.conftest import Site, WorkerThread

SECRET = "k-4711-mark"
OP = "start_flowcraft_runs_op"


def pay(ctx: NodeContext) -> int:
    return len(ctx.dependencies["find_secret"](ctx.context["account"]))


def find_secret(name: str) -> str:
    return os.environ[f"SHOP_SECRET_{name.upper()}"]


def test_a_secret_that_a_context_names_is_stored_nowhere(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_SECRET_ACME", SECRET)
    app = Flowcraft(Flow("pay").node("pay", pay), dependencies={"find_secret": find_secret})
    home = tmp_path / "home"
    backend = EmbeddedStoreResource(home=str(home), synchronous="NORMAL")
    site = Site(
        app,
        home,
        FlowcraftClientResource(app=register_app(app), backend=backend),
        build_flowcraft_definitions(app, backend=backend),
        build_catalogue(app, FlowcraftDagsterTranslator(), Presenter()),
        instance,
    )
    worker = WorkerThread(app, site.settings)
    worker.start()
    try:
        config = {"blueprint_id": "pay", "context": {"account": "acme"}}
        done = site.run_job("start_flowcraft_runs", {"ops": {OP: {"config": config}}})
        assert done.success
        assert site.client.result(done.run_id).outputs == {"pay": len(SECRET)}
    finally:
        worker.stop()

    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    in_dagster = [str(run.run_config), *(str(entry) for entry in instance.all_logs(done.run_id))]
    assert any("acme" in text for text in in_dagster)
    assert not any(SECRET in text for text in in_dagster)
    files = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert any(b"acme" in content for content in files)
    assert not any(SECRET.encode() in content for content in files)
