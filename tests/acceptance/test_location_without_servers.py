"""The Dagster code location loads while no server answers, and without asking any."""

from __future__ import annotations

import runpy
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command_line import ROOT

pytestmark = [
    # Raised inside Dagster about its own use of pydantic.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]
AWAY = {
    "KAFKA_BROKERS": "127.0.0.1:1",
    "CASSANDRA_CONTACT_POINTS": "127.0.0.1",
    "CASSANDRA_PORT": "1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


@pytest.mark.parametrize("backend", ["kafka", "embedded"])
def test_the_location_loads_with_every_server_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: str
) -> None:
    import dagster as dg

    from flowcraft_dagster.orchestration.connection import count_connections

    in_the_way = tmp_path / "home"
    in_the_way.write_text("a file where a folder should be", encoding="utf-8")
    for name, value in {**AWAY, "FLOWCRAFT_BACKEND": backend, "FLOWCRAFT_HOME": str(in_the_way)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FLOWCRAFT_APP", raising=False)
    monkeypatch.syspath_prepend(ROOT)

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"loading asks {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = count_connections()
    definitions = runpy.run_path(str(ROOT / "definitions.py"))["defs"]
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_asset_graph().get_all_asset_keys()
    assert count_connections() == before
