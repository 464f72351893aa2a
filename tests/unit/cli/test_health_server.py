from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from flowcraft_dagster.cli.health_server import HOST, HealthServer, write_metrics

FIGURES: dict[str, Any] = {
    "ready": True,
    "trouble": None,
    "backend": "embedded",
    "abandonedThreads": 2,
    "paused": False,
    "counters": {"nodes": 7, "dead_letters": 1},
}


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[HealthServer, dict[str, Any]]]:
    figures = dict(FIGURES)
    server = HealthServer(lambda: figures)
    await server.start(0)
    try:
        yield server, figures
    finally:
        await server.close()


async def _ask(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1]), body


async def _get(port: int, path: str) -> tuple[int, bytes]:
    return await _ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_health_is_json(served: tuple[HealthServer, dict[str, Any]]) -> None:
    code, body = await _get(served[0].port, "/healthz")
    assert (code, json.loads(body)) == (200, FIGURES)


async def test_a_worker_in_trouble_lives_but_is_not_ready(served: tuple[HealthServer, dict[str, Any]]) -> None:
    server, figures = served
    assert (await _get(server.port, "/readyz"))[0] == 200
    figures["trouble"] = "commit: the store is away"
    assert (await _get(server.port, "/readyz"))[0] == 503
    assert (await _get(server.port, "/healthz"))[0] == 200


async def test_metrics_are_prometheus_text(served: tuple[HealthServer, dict[str, Any]]) -> None:
    code, body = await _get(served[0].port, "/metrics?x=1")
    lines = body.decode().splitlines()
    assert code == 200
    assert "flowcraft_worker_abandoned_threads 2" in lines
    assert "flowcraft_worker_ready 1" in lines
    assert "flowcraft_worker_trouble 0" in lines
    assert "# TYPE flowcraft_worker_nodes_total counter" in lines
    assert "flowcraft_worker_nodes_total 7" in lines


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
    ],
)
async def test_other_requests_are_refused(
    request_bytes: bytes, code: int, served: tuple[HealthServer, dict[str, Any]]
) -> None:
    assert (await _ask(served[0].port, request_bytes))[0] == code


async def test_a_caller_who_goes_away_harms_nobody(served: tuple[HealthServer, dict[str, Any]]) -> None:
    server, _ = served
    _, writer = await asyncio.open_connection(HOST, server.port)
    writer.write(b"GET /hea")
    writer.close()
    await writer.wait_closed()
    _, endless = await asyncio.open_connection(HOST, server.port)
    endless.write(b"GET /healthz HTTP/1.1\r\n" + b"x" * 200_000)
    assert (await _get(server.port, "/healthz"))[0] == 200
    endless.close()


def test_trouble_is_a_figure_too() -> None:
    assert "flowcraft_worker_trouble 1" in write_metrics({"trouble": "away"}).splitlines()
    assert "trouble" not in write_metrics({"lanes": 1})
