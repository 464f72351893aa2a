"""Hints in Redis: leases and wake-ups. Whatever is lost here costs time and nothing else."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from flowcraft_dagster.backends.access import advise_certificate, advise_credentials, advise_right
from flowcraft_dagster.backends.redis.announcer import Announcer
from flowcraft_dagster.backends.redis.breaker import CircuitBreaker
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.errors import InfrastructureError
from flowcraft_dagster.timeouts import await_within

logger = logging.getLogger(__name__)

T = TypeVar("T")
HasEnded = Callable[[str], Awaitable[bool]]

ERRORS = (RedisError, OSError, asyncio.TimeoutError)
SUBSCRIBE_SECONDS = 0.5
LISTEN_SECONDS = 1.0
QUIET_SECONDS = 15.0
"""After so long without a word the server is asked whether it is there: who only listens never notices otherwise."""
REFUSAL_SECONDS = 60.0
"""So often a refusal is told, at the most."""
MAX_CONNECTIONS = 16
REMEMBERED_RUNS = 10_000
"""Announcements that nobody waited for, the last ones; each is told once."""


class RedisCoordination:
    """A ``CoordinationStore`` on Redis.

    One connection for each process listens to one channel, however many clients wait. A lease that Redis cannot
    answer for is granted: two owners do no harm, none at all would stop the work.

    Args:
        settings: where and how.
        has_ended: asked when a wait begins before the subscription, so that a run that ended just before is not
            waited for.

    Attributes:
        operations: how many ``leases``, ``announcements`` (of runs), ``wakeups`` and ``failures`` there were.
    """

    def __init__(self, settings: RedisSettings, has_ended: HasEnded | None = None) -> None:
        self.settings = settings
        self.operations: Counter[str] = Counter()
        self._has_ended = has_ended
        self._client: Redis | None = None
        self._acquire: Any = None
        self._release: Any = None
        self._breaker = CircuitBreaker(settings.failures, settings.rest_seconds, settings.longest_rest_seconds)
        self._channel = f"{settings.prefix}:runs"
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._heard: dict[str, None] = {}
        self._listener: asyncio.Task[None] | None = None
        self._announcer = Announcer(self._publish)
        self._subscribed = asyncio.Event()
        self._refusal_told_at = -math.inf

    async def acquire_lease(self, name: str, owner: str, seconds: float) -> bool:
        """See ``CoordinationStore.acquire_lease``; true when Redis does not answer."""
        self.operations["leases"] += 1
        milliseconds = max(1, int(min(seconds, self.settings.ttl_seconds) * 1000))
        self._connect()
        answer = await self._try(lambda: self._acquire(keys=[self._name(name)], args=[owner, milliseconds]))
        return answer is None or answer == 1

    async def release_lease(self, name: str, owner: str) -> None:
        """See ``CoordinationStore.release_lease``."""
        self._connect()
        await self._try(lambda: self._release(keys=[self._name(name)], args=[owner]))

    async def announce_runs(self, run_ids: Sequence[str]) -> None:
        """See ``CoordinationStore.announce_runs``; one operation for all of them."""
        if not run_ids:
            return
        self.operations["announcements"] += len(run_ids)
        # While Redis is left alone, and while one call tries whether it is back, nobody stands in line behind that.
        if not self._breaker.is_open:
            await self._announcer.announce(run_ids)

    async def await_run(self, run_id: str, seconds: float) -> bool:
        """See ``CoordinationStore.await_run``; a run that has ended is announced at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        heard: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(run_id, set()).add(heard)
        try:
            if self._heard.pop(run_id, None) is not None:
                return True
            if not self._subscribed.is_set():
                await self._listen(min(seconds, SUBSCRIBE_SECONDS))
                # What was announced before the subscription was not heard.
                if self._has_ended is not None and await self._ask(self._has_ended, run_id):
                    return True
            done, _ = await asyncio.wait([heard], timeout=max(0.0, until - loop.time()))
            return bool(done)
        finally:
            waiting = self._waiting.get(run_id)
            if waiting is not None:
                waiting.discard(heard)
                if not waiting:
                    del self._waiting[run_id]
            heard.cancel()

    async def check_health(self) -> str | None:
        """See ``CoordinationStore.check_health``; asks even while Redis is left alone."""
        client = self._connect()
        try:
            await await_within(self._touch(client), self.settings.connect_seconds + self.settings.timeout_seconds)
        except ERRORS as error:
            return f"{self.settings.describe()}: {self._explain(error)}; work goes on, clients wait by polling"
        self._breaker.note_success()
        return None

    async def _touch(self, client: Redis) -> None:
        """Write a key and use the channel as well.

        A user may be let in and have no right to them, and a server that is full, or a replica, only lets read.
        """
        await client.ping()
        await client.set(self._name("health"), "", px=1000)
        await client.publish(self._channel, "[]")

    async def describe_server(self) -> str:
        """Version and figures, in one line; where it is when it does not answer."""
        client = self._connect()
        info = await self._try(lambda: client.info("server"))
        version = info.get("redis_version", "?") if isinstance(info, dict) else "?"
        figures = ", ".join(f"{count} {name}" for name, count in sorted(self.operations.items())) or "not used yet"
        return f"Redis {version} at {self.settings.describe()}; {figures}"

    async def close(self) -> None:
        """Let go of the connections; harmless when there are none."""
        await self._announcer.close()
        listener, self._listener = self._listener, None
        while listener is not None and not listener.done():
            # Again, should the client forget it.
            listener.cancel()
            await asyncio.wait({listener}, timeout=1.0)
        # It may be opened again in another loop, to which this one would not belong.
        self._subscribed = asyncio.Event()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _name(self, lease: str) -> str:
        return f"{self.settings.prefix}:lease:{lease}"

    def _connect(self) -> Redis:
        if self._client is None:
            self._client = self._make_client()
            self._acquire = self._client.register_script(_read_script("acquire_lease"))
            self._release = self._client.register_script(_read_script("release_lease"))
        return self._client

    def _make_client(self) -> Redis:
        # Nothing is tried twice: the breaker decides when Redis is asked again.
        options = {**self.settings.as_client(), "retry": Retry(NoBackoff(), 0)}
        # A page of runs is asked for at once: more requests than connections wait for their turn, and fail nothing.
        pool = BlockingConnectionPool.from_url(
            self.settings.url.get_secret_value(),
            max_connections=MAX_CONNECTIONS,
            timeout=self.settings.connect_seconds,
            **options,
        )
        return Redis.from_pool(pool)

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None when there is none.

        The client's own code waits by ``asyncio.wait_for``, which may forget a cancellation before Python 3.12: a
        worker that is to stop would look for timers for ever. So the call has a task of its own.
        """
        if not self._breaker.allows_call():
            return None
        seconds = 2 * (self.settings.connect_seconds + self.settings.timeout_seconds)
        try:
            answer = await await_within(call(), seconds)
        except ERRORS as error:
            self._note_failure(error)
            return None
        self._breaker.note_success()
        return answer

    def _note_failure(self, error: BaseException) -> None:
        self.operations["failures"] += 1
        was_open = self._breaker.is_open
        self._breaker.note_failure()
        if self._breaker.is_open and not was_open:
            logger.warning("redis at %s is left alone for a while: %s", self.settings.describe(), self._explain(error))
        elif isinstance(error, ResponseError) and time.monotonic() - self._refusal_told_at > REFUSAL_SECONDS:
            # It answers other calls, so it is not left alone, and nobody would be told.
            self._refusal_told_at = time.monotonic()
            logger.warning("redis at %s refuses: %s", self.settings.describe(), self._explain(error))

    async def _ask(self, has_ended: HasEnded, run_id: str) -> bool:
        try:
            return await has_ended(run_id)
        except InfrastructureError:
            return False

    async def _publish(self, run_ids: Sequence[str]) -> None:
        client = self._connect()
        await self._try(lambda: client.publish(self._channel, orjson.dumps(run_ids).decode()))

    async def _listen(self, seconds: float) -> None:
        """Make sure that somebody listens, and wait a moment for the subscription."""
        if self._listener is None or self._listener.done():
            self._subscribed.clear()
            self._listener = asyncio.create_task(self._hear())
        try:
            await await_within(self._subscribed.wait(), seconds)
        except asyncio.TimeoutError:
            logger.debug("not subscribed yet")

    async def _hear(self) -> None:
        """Pass announcements on, and subscribe again whenever the connection breaks."""
        rest, is_again = self.settings.rest_seconds, False
        while True:
            try:
                await self._hear_until_broken(is_again)
            except ERRORS as error:
                logger.info("announcements are not heard for now: %s", self._explain(error))
            if self._subscribed.is_set():
                self._subscribed.clear()
                is_again = True
                rest = self.settings.rest_seconds
            await asyncio.sleep(rest)
            rest = min(rest * 2, self.settings.longest_rest_seconds)

    async def _hear_until_broken(self, is_again: bool) -> None:
        loop = asyncio.get_running_loop()
        async with self._make_client() as client, client.pubsub() as channel:
            await channel.subscribe(self._channel)
            heard_at, is_asked = loop.time(), False
            while True:
                message = await channel.get_message(timeout=min(LISTEN_SECONDS, QUIET_SECONDS))
                if message is None:
                    silence = loop.time() - heard_at
                    if silence > 2 * QUIET_SECONDS:
                        raise asyncio.TimeoutError("the connection is dead")
                    if silence > QUIET_SECONDS and not is_asked:
                        await channel.ping()
                        is_asked = True
                    continue
                heard_at, is_asked = loop.time(), False
                if message["type"] == "subscribe":
                    self._subscribed.set()
                    if is_again:
                        # What was announced meanwhile is unknown: everybody looks once.
                        self._wake(list(self._waiting))
                elif message["type"] == "message":
                    self._wake(_read_run_ids(message["data"]))

    def _explain(self, error: BaseException) -> str:
        text = " ".join(str(error).split()).rstrip(".")
        found = f"{type(error).__name__}: {text}" if text else type(error).__name__
        advice = _advise(error, self.settings)
        return found if advice is None else f"{found} ({advice.rstrip('.')})"

    def _wake(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            waiting = self._waiting.pop(run_id, None)
            if waiting is None:
                # Somebody may be about to wait: between reading the run and asking here it was announced.
                self._heard[run_id] = None
                if len(self._heard) > REMEMBERED_RUNS:
                    del self._heard[next(iter(self._heard))]
                continue
            for heard in waiting:
                if not heard.done():
                    self.operations["wakeups"] += 1
                    heard.set_result(None)


def _read_run_ids(text: str) -> list[str]:
    """What an announcement names; nothing when somebody else has put something else on the channel."""
    try:
        run_ids = orjson.loads(text)
    except orjson.JSONDecodeError:
        run_ids = None
    if not isinstance(run_ids, list):
        logger.warning("an announcement that is no list of runs is not heeded")
        return []
    return [run_id for run_id in run_ids if isinstance(run_id, str)]


def _read_script(name: str) -> str:
    return resources.files(__package__).joinpath("lua").joinpath(f"{name}.lua").read_text("utf-8")


def _advise(error: BaseException, settings: RedisSettings) -> str | None:
    """What to do about a user, password, certificate or right; None when the error is about something else."""
    if isinstance(error, AuthenticationError):
        return advise_credentials("REDIS")
    if isinstance(error, NoPermissionError):
        return advise_right(settings.username)
    return advise_certificate("REDIS") if "[SSL" in str(error) else None
