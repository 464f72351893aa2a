"""A worker's health and figures over HTTP, on this machine's loopback address only.

``/healthz`` says that the process lives (JSON), ``/readyz`` that it can work (503 while a server is away), ``/metrics``
has the figures as Prometheus text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PATIENCE = 5.0
_MAX_LINES = 100
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class HealthServer:
    """Answers from a function that tells the present figures.

    Args:
        describe: gives JSON; ``ready`` and ``trouble`` decide about ``/readyz``, numbers become metrics.

    Attributes:
        port: where it listens, once started.
    """

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._describe = describe
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on ``port``; 0 takes a free one. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, HOST, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            code, kind, body = await await_within(self._answer(reader), _PATIENCE)
            head = (
                f"HTTP/1.1 {code} {_PHRASES[code]}\r\nContent-Type: {kind}; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await await_within(writer.drain(), _PATIENCE)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            logger.debug("a health request came to nothing: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
        request = (await reader.readuntil(b"\n")).decode("latin-1").split()
        for _ in range(_MAX_LINES):
            if (await reader.readuntil(b"\n")).strip() == b"":
                break
        if len(request) != 3:
            return 400, "text/plain", b"not an HTTP request\n"
        if request[0] != "GET":
            return 405, "text/plain", b"only GET\n"
        path, figures = request[1].partition("?")[0], self._describe()
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", write_metrics(figures).encode()
        if path == "/healthz":
            return 200, "application/json", _write_json(figures)
        if path == "/readyz":
            is_ready = bool(figures.get("ready")) and not figures.get("trouble")
            return 200 if is_ready else 503, "application/json", _write_json(figures)
        return 404, "text/plain", b"there are /healthz, /readyz and /metrics\n"


def _write_json(figures: Mapping[str, Any]) -> bytes:
    return json.dumps(figures, default=str).encode() + b"\n"


def write_metrics(figures: Mapping[str, Any]) -> str:
    """Numbers and truths as Prometheus text; members of ``counters`` become counters.

    Example:
        >>> print(write_metrics({"lanes": 2, "counters": {"nodes": 7}}), end="")
        # TYPE flowcraft_worker_lanes gauge
        flowcraft_worker_lanes 2
        # TYPE flowcraft_worker_nodes_total counter
        flowcraft_worker_nodes_total 7
    """
    lines: list[str] = []
    gauges = {name: value for name, value in figures.items() if isinstance(value, (bool, int, float))}
    gauges["trouble"] = figures.get("trouble") is not None
    if "trouble" not in figures:
        del gauges["trouble"]
    for name, value in gauges.items():
        metric = name_metric(name)
        lines += [f"# TYPE {metric} gauge", f"{metric} {_number(value)}"]
    for name, value in figures.get("counters", {}).items():
        metric = name_metric(name, counts=True)
        lines += [f"# TYPE {metric} counter", f"{metric} {_number(value)}"]
    return "".join(f"{line}\n" for line in lines)


def name_metric(name: str, *, counts: bool = False) -> str:
    """How a figure is called in the metrics."""
    return f"flowcraft_worker_{_snake(name)}{'_total' if counts else ''}"


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
