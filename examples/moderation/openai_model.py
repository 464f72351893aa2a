"""Any endpoint that speaks OpenAI's chat completions, such as a hosted service or a local server.

Wire format: ``POST {url}/chat/completions`` with ``model``, ``messages`` and ``temperature``; the answer is
``choices[0].message.content`` (OpenAI API reference, "Chat completions").
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from flowcraft_dagster.errors import FatalNodeError, NodeError, SettingsError

_URL_NAME = "FLOWCRAFT_MODEL_URL"
_KEY_NAME = "FLOWCRAFT_MODEL_KEY"
_MODEL_NAME = "FLOWCRAFT_MODEL_NAME"
_PATH = "/chat/completions"
_PASSING_STATUSES = frozenset({408, 409, 425, 429})
_LONGEST_DETAIL = 200
_SECONDS = re.compile(r"\d{1,6}(?:\.\d+)?")


@dataclass(frozen=True, eq=False)
class OpenAIModel:
    """A language model behind HTTP.

    Attributes:
        url: the API's address, such as ``https://models.example.com/v1``, with or without ``/chat/completions``.
        name: the model's name there.
        key: sent as bearer token; never shown. Empty for servers without one.
        timeout_seconds: for one request, from sending to the last byte.
        attempts: requests for one prompt in all, at least 1; only failures that may pass are tried again.
        retry_seconds: before the second request; doubled for each further one. ``Retry-After`` goes before.
        longest_pause_seconds: upper bound of a pause, also of one that the server asks for.
        sleep: pauses for some seconds; replaced in tests.

    Raises:
        SettingsError: the address is not a plain HTTP one, or the name is missing.
    """

    url: str
    name: str
    key: str = field(default="", repr=False)
    timeout_seconds: float = 30.0
    attempts: int = 3
    retry_seconds: float = 0.5
    longest_pause_seconds: float = 10.0
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)
    # A client belongs to the event loop that opened its connections.
    _clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = field(
        default_factory=weakref.WeakKeyDictionary, init=False, repr=False
    )

    def __post_init__(self) -> None:
        try:
            parts = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise SettingsError(f"is no address ({error})", name=_URL_NAME) from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise SettingsError("must begin with http:// or https:// and name a host", name=_URL_NAME)
        if parts.userinfo or parts.query or parts.fragment:
            # Addresses appear in logs and errors; a key there would too.
            raise SettingsError(f"must not carry a password or a query; the key belongs in {_KEY_NAME}", name=_URL_NAME)
        if not self.name:
            raise SettingsError("is missing: the model's name at the endpoint", name=_MODEL_NAME)
        if not self.key.isascii() or any(character.isspace() for character in self.key):
            raise SettingsError("must be ASCII text without spaces", name=_KEY_NAME)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> OpenAIModel:
        """The model that ``FLOWCRAFT_MODEL_URL``, ``FLOWCRAFT_MODEL_KEY`` and ``FLOWCRAFT_MODEL_NAME`` describe.

        Raises:
            SettingsError: one of them has no usable value.
        """
        return cls(
            url=environ.get(_URL_NAME, "").strip(),
            name=environ.get(_MODEL_NAME, "").strip(),
            key=environ.get(_KEY_NAME, "").strip(),
        )

    @property
    def endpoint(self) -> str:
        """Where requests go."""
        plain = self.url.rstrip("/")
        return plain if plain.endswith(_PATH) else plain + _PATH

    async def complete(self, prompt: str) -> str:
        """Ask the model.

        Raises:
            NodeError: the endpoint is away, busy or failing after all attempts; a retry of the node may help.
            FatalNodeError: the endpoint refuses the request; no retry helps.
        """
        attempt = 0
        while True:
            attempt += 1
            pause = self.retry_seconds * 2 ** (attempt - 1)
            try:
                # The client's own timeout is for each read: a server that drips bytes would never reach it.
                response = await asyncio.wait_for(self._post(prompt), self.timeout_seconds)
            except (httpx.TransportError, asyncio.TimeoutError) as error:
                failure = NodeError(f"model endpoint {self.endpoint}: {type(error).__name__}, no answer")
            else:
                if response.is_success:
                    return self._read_answer(response)
                failure = self._describe_failure(response)
                if isinstance(failure, FatalNodeError):
                    raise failure
                pause = _read_pause(response.headers.get("retry-after"), pause)
            if attempt >= self.attempts:
                raise failure
            await self.sleep(min(pause, self.longest_pause_seconds))

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _post(self, prompt: str) -> httpx.Response:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            client = httpx.AsyncClient(headers=headers, timeout=self.timeout_seconds)
            self._clients[loop] = client
        body = {"model": self.name, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        return await client.post(self.endpoint, json=body)

    def _read_answer(self, response: httpx.Response) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            content = None
        if not isinstance(content, str):
            raise NodeError(f"model endpoint {self.endpoint}: the answer has no choices[0].message.content")
        return content.strip()

    def _describe_failure(self, response: httpx.Response) -> NodeError:
        status = response.status_code
        message = f"model endpoint {self.endpoint}: status {status}{self._read_detail(response)}"
        if status in _PASSING_STATUSES or status >= 500:
            return NodeError(message)
        if status in (401, 403):
            return FatalNodeError(f"{message}; check {_KEY_NAME}")
        return FatalNodeError(f"{message}; check {_URL_NAME} and {_MODEL_NAME}")

    def _read_detail(self, response: httpx.Response) -> str:
        """The endpoint's own words, shortened, without the key should it repeat it."""
        try:
            document: Any = response.json()
            detail = document["error"]["message"]
        except (ValueError, LookupError, TypeError):
            return ""
        text = " ".join(str(detail).split())
        if self.key:
            text = text.replace(self.key, "***")
        return f" ({text[:_LONGEST_DETAIL]})"


def _read_pause(retry_after: str | None, default: float) -> float:
    """Seconds from a ``Retry-After`` header; dates, which are rare, are not read."""
    return float(retry_after) if retry_after is not None and _SECONDS.fullmatch(retry_after.strip()) else default
