"""The HTTP model against a server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from examples.moderation.model import choose_model
from examples.moderation.openai_model import OpenAIModel
from examples.moderation.rule_model import RuleModel
from flowcraft_dagster.errors import FatalNodeError, NodeError, SettingsError

KEY = "sk-test-0123456789"


@dataclass
class Reply:
    """What the server answers once; without a status it only closes, with ``hang`` it stays silent."""

    status: int | None = 200
    body: bytes = b'{"choices": [{"message": {"content": " true\\n"}}]}'
    headers: str = ""
    hang: bool = False


@dataclass
class Server:
    """A server on a port of its own that gives prepared replies, the last one for ever."""

    replies: list[Reply]
    port: int = 0
    requests: list[tuple[str, dict[str, str], dict[str, object]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer_one(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append((first, headers, body))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply.hang:
            await reader.read()
            return False
        if reply.status is None:
            return False
        head = f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(reply.body)}\r\n{reply.headers}\r\n"
        writer.write(head.encode() + reply.body)
        await writer.drain()
        return True


ServerMaker = Callable[..., contextlib.AbstractAsyncContextManager[tuple[Server, OpenAIModel, list[float]]]]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def serve() -> ServerMaker:
    @contextlib.asynccontextmanager
    async def run(
        *replies: Reply, timeout_seconds: float = 10, attempts: int = 3
    ) -> AsyncIterator[tuple[Server, OpenAIModel, list[float]]]:
        server = Server(list(replies))
        listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        pauses: list[float] = []

        async def remember(seconds: float) -> None:
            pauses.append(seconds)

        model = OpenAIModel(server.url, "m", KEY, timeout_seconds=timeout_seconds, attempts=attempts, sleep=remember)
        try:
            yield server, model, pauses
        finally:
            await model.aclose()
            listener.close()
            await listener.wait_closed()

    return run


async def test_request_and_answer(serve: ServerMaker) -> None:
    async with serve(Reply()) as (server, model, pauses):
        assert await model.complete("Is it?") == "true"
        assert await model.complete("Again?") == "true"
    (first, headers, body), (_, _, second) = server.requests
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Is it?"}], "temperature": 0}
    assert second["messages"] == [{"role": "user", "content": "Again?"}]
    assert pauses == []


async def test_no_key_sends_no_authorization(serve: ServerMaker) -> None:
    async with serve(Reply()) as (server, _, _):
        model = OpenAIModel(server.url + "/chat/completions", "m")
        assert await model.complete("x") == "true"
        await model.aclose()
    first, headers, _ = server.requests[0]
    assert first.startswith("POST /v1/chat/completions ")
    assert "authorization" not in headers


@pytest.mark.parametrize("trouble", [Reply(429, b""), Reply(500, b"{}"), Reply(503, b"<html>"), Reply(None)])
async def test_passing_trouble_is_outlived(serve: ServerMaker, trouble: Reply) -> None:
    async with serve(trouble, trouble, Reply()) as (server, model, pauses):
        assert await model.complete("x") == "true"
    assert len(server.requests) == 3
    assert pauses == [0.5, 1.0]


async def test_the_server_may_ask_for_a_pause(serve: ServerMaker) -> None:
    asked = Reply(429, b"", "Retry-After: 2\r\n")
    too_long = Reply(503, b"", "Retry-After: 3600\r\n")
    date = Reply(503, b"", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n")
    async with serve(asked, too_long, date, Reply(), attempts=4) as (_, model, pauses):
        assert await model.complete("x") == "true"
    assert pauses == [2.0, 10.0, 2.0]


async def test_trouble_that_stays_is_an_ordinary_failure(serve: ServerMaker) -> None:
    async with serve(Reply(503, b'{"error": {"message": "over\\nloaded"}}')) as (server, model, pauses):
        with pytest.raises(NodeError, match=r"status 503 \(over loaded\)") as caught:
            await model.complete("x")
    assert not isinstance(caught.value, FatalNodeError)
    assert len(server.requests) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "MODEL_NAME"), (401, "MODEL_KEY"), (403, "MODEL_KEY"), (404, "MODEL_URL"), (302, "MODEL_URL")],
)
async def test_a_refusal_is_final_and_says_what_to_check(serve: ServerMaker, status: int, advice: str) -> None:
    async with serve(Reply(status, b"{}")) as (server, model, _):
        with pytest.raises(FatalNodeError, match=rf"status {status}.*{advice}"):
            await model.complete("x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}']
)
async def test_an_answer_of_another_form_is_an_ordinary_failure(serve: ServerMaker, body: bytes) -> None:
    async with serve(Reply(200, body)) as (_, model, _):
        with pytest.raises(NodeError, match=r"no choices\[0\]"):
            await model.complete("x")


async def test_a_silent_server_is_given_up(serve: ServerMaker) -> None:
    async with serve(Reply(hang=True), timeout_seconds=0.2, attempts=2) as (_, model, pauses):
        with pytest.raises(NodeError, match="no answer"):
            await model.complete("x")
    assert pauses == [0.5]


async def test_nobody_there_is_an_ordinary_failure(serve: ServerMaker) -> None:
    async with serve(Reply()) as (_, model, _):
        pass
    with pytest.raises(NodeError, match="ConnectError"):
        await model.complete("x")
    await model.aclose()


async def test_the_key_is_never_shown(serve: ServerMaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = Reply(401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode())
    async with serve(echo) as (_, model, _):
        with pytest.raises(FatalNodeError) as caught:
            await model.complete("x")
        texts = [repr(model), str(model), str(caught.value), repr(caught.value), repr(caught.value.fields), caplog.text]
    assert "bad key ***" in texts[2]
    assert all(KEY not in text for text in texts)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FLOWCRAFT_MODEL_URL": "models.example.com"}, "FLOWCRAFT_MODEL_URL: must begin with http"),
        ({"FLOWCRAFT_MODEL_URL": "http://:bad:port"}, "FLOWCRAFT_MODEL_URL"),
        ({"FLOWCRAFT_MODEL_URL": "https://me:secret@models.example.com"}, "must not carry a password"),
        ({"FLOWCRAFT_MODEL_URL": "https://models.example.com/v1?key=secret"}, "must not carry a password or a query"),
        ({"FLOWCRAFT_MODEL_URL": "https://models.example.com/v1"}, "FLOWCRAFT_MODEL_NAME: is missing"),
        (
            {
                "FLOWCRAFT_MODEL_URL": "https://models.example.com/v1",
                "FLOWCRAFT_MODEL_NAME": "m",
                "FLOWCRAFT_MODEL_KEY": "sec ret",
            },
            "FLOWCRAFT_MODEL_KEY: must be ASCII",
        ),
    ],
)
def test_unusable_settings_are_refused_without_showing_secrets(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        choose_model(environ)
    assert "secret" not in str(caught.value)
    assert "sec ret" not in str(caught.value)


def test_the_environment_chooses_the_model() -> None:
    assert isinstance(choose_model({}), RuleModel)
    assert isinstance(choose_model({"FLOWCRAFT_MODEL_URL": "  "}), RuleModel)
    remote = choose_model({"FLOWCRAFT_MODEL_URL": "http://localhost:1/v1/", "FLOWCRAFT_MODEL_NAME": "m"})
    assert isinstance(remote, OpenAIModel)
    assert remote.endpoint == "http://localhost:1/v1/chat/completions"
