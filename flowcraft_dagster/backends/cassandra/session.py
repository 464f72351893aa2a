"""Requests to Cassandra from an asyncio loop: many under way at a time, none with a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from flowcraft_dagster.backends.cassandra import driver
from flowcraft_dagster.backends.cassandra.layout import CassandraLayout
from flowcraft_dagster.backends.cassandra.loop_connection import bind_to_loop, call_on_loop
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.cassandra.statements import write_statements
from flowcraft_dagster.errors import StoreAccessDenied, StoreUnavailable

logger = logging.getLogger(__name__)

Rows = list[tuple[Any, ...]]
Answer = tuple[Rows, Any]
"""The rows of one page, and the driver's response."""

Bound = Any
"""A statement with its values."""

Part = tuple[str, Sequence[Any]]
"""A statement's name and its values."""

T = TypeVar("T")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_PAGE_ROWS = {"read_run": 200, "read_more": 200}


class Unanswered(Exception):  # never leaves this package
    """A request failed in a way that leaves open whether it took effect."""


class CassandraSession:
    """One connection pool, used from one asyncio loop.

    The loop itself reads and writes the connections, see ``loop_connection``. Plain statements are idempotent and
    repeated until ``give_up_seconds``; conditional ones are sent once by :meth:`attempt`, since only the caller can
    tell whether an unanswered one took effect.

    Args:
        settings: where and how.
        dice: for the jitter of pauses.
        access: see ``driver.connect_cluster``.

    Attributes:
        layout: the tables it works on.
        requests: how many requests were sent.
        unanswered: how many of them had an unknown outcome.
    """

    def __init__(
        self,
        settings: CassandraSettings,
        dice: random.Random | None = None,
        *,
        access: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        self.layout = CassandraLayout(settings, self.run_cql)
        self.requests = 0
        self.unanswered = 0
        self._access = access
        self._dice = dice or random.Random()  # noqa: S311  # spreads load
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        self._preparing = asyncio.Lock()
        self._thread_id = 0
        self._under_way = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._serial = driver.ConsistencyLevel.name_to_value[settings.serial_consistency]
        self._consistency = driver.ConsistencyLevel.name_to_value[settings.consistency]

    async def open(self) -> None:
        """Connect, unless connected.

        Raises:
            StoreUnavailable: nobody answers.
            SettingsError: certificates or bundle cannot be used.
        """
        if self._session is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        # The last one belongs to the loop of the time before.
        self._preparing = asyncio.Lock()
        reactor = bind_to_loop(self._loop)
        try:
            self._cluster, self._session = await asyncio.to_thread(
                driver.connect_cluster, self.settings, reactor, self._access
            )
        except driver.ERRORS as error:
            raise self._refused(error) from None

    async def close(self) -> None:
        """Disconnect; harmless when not connected."""
        cluster, self._cluster, self._session = self._cluster, None, None
        self._prepared = {}
        if cluster is not None:
            await asyncio.to_thread(cluster.shutdown)

    @property
    def is_open(self) -> bool:
        """Whether ``open`` succeeded and ``close`` was not called."""
        return self._session is not None

    async def bind(self, name: str, parameters: Sequence[Any]) -> Bound:
        """A statement with its values, ready to send.

        Raises:
            StoreUnavailable: the tables are missing or the server is away.
        """
        prepared = self._prepared.get(name)
        if prepared is None:
            await self._prepare()
            prepared = self._prepared[name]
        return prepared.bind(parameters)

    async def batch(self, parts: Sequence[Part]) -> Bound:
        """Several statements as one request; those for one partition take effect all or not at all.

        Args:
            parts: name and values of each.
        """
        batch = driver.BatchStatement(
            driver.BatchType.UNLOGGED,
            consistency_level=self._consistency,
            serial_consistency_level=self._serial,
        )
        for name, parameters in parts:
            batch.add(await self.bind(name, parameters))
        return batch

    async def read(self, name: str, *parameters: Any, serial: bool = False) -> Rows:
        """All rows of a plain read.

        Args:
            name: of the statement.
            parameters: its values.
            serial: take part in the ordering of conditional writes, which also settles an unfinished one.

        Raises:
            StoreUnavailable: nobody answered in time.
        """
        bound = await self.bind(name, parameters)
        if serial:
            bound.consistency_level = self._serial
        rows, response = await self.insist(name, lambda: self.attempt(bound))
        while response.has_more_pages:
            state = response._paging_state
            more, response = await self.insist(name, lambda state=state: self.attempt(bound, state))  # type: ignore[misc]
            rows += more
        return rows

    async def write(self, name: str, *parameters: Any) -> None:
        """A plain write. Raises StoreUnavailable."""
        bound = await self.bind(name, parameters)
        await self.insist(name, lambda: self.attempt(bound))

    async def write_together(self, parts: Sequence[Part]) -> None:
        """Plain writes in one request, see :meth:`batch`. Raises StoreUnavailable."""
        bound = await (self.bind(*parts[0]) if len(parts) == 1 else self.batch(parts))
        await self.insist(parts[0][0], lambda: self.attempt(bound))

    async def insist(self, what: str, call: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """Repeat ``call`` while it is unanswered, with growing pauses.

        Args:
            what: names the call in the error.
            call: makes a new attempt each time.
            seconds: for how long; the settings' ``give_up_seconds`` when None.

        Raises:
            StoreUnavailable: time is up, or the server refuses the request for good.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (self.settings.give_up_seconds if seconds is None else seconds)
        pause = _FIRST_PAUSE
        while True:
            try:
                return await call()
            except Unanswered as error:
                reason = f"{what}: {error}"
            rest = pause * (0.5 + self._dice.random())
            if loop.time() + rest > until:
                raise self._unavailable(reason)
            await asyncio.sleep(rest)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def attempt(self, bound: Bound, paging_state: bytes | None = None) -> Answer:
        """Send a request once.

        Returns:
            The rows of the answer's first page, and the driver's response.

        Raises:
            Unanswered: whether it took effect is not known.
            StoreUnavailable: the server refuses it; it took no effect.
        """
        if self._under_way >= self.settings.max_in_flight:
            await self._wait_for_turn()
        else:
            self._under_way += 1
        try:
            try:
                future = self._send(bound, paging_state)
            except BaseException:
                self._end_turn()
                raise
            return await future
        except driver.ERRORS as error:
            raise self._translate(error) from None

    def forget_statements(self) -> None:
        """Prepare all statements again before the next one: their tables are gone."""
        self._prepared = {}

    async def describe_server(self) -> str:
        """Release, protocol and number of nodes, in one line."""
        rows = await self.run_cql("SELECT release_version, data_center FROM system.local")
        release, centre = rows[0]
        hosts = list(self._cluster.metadata.all_hosts())
        up = sum(1 for host in hosts if host.is_up)
        return f"Cassandra {release}, {up} of {len(hosts)} nodes up, data centre {centre}"

    async def run_cql(self, text: str, parameters: tuple[Any, ...] | None = None) -> Rows:
        """A statement that is not prepared, on a thread: for schema and health only. Raises StoreUnavailable."""

        def execute() -> Rows:
            return list(self._require().execute(text, parameters, timeout=max(20.0, self.settings.request_seconds)))

        async def attempt() -> Rows:
            try:
                return await asyncio.to_thread(execute)
            except driver.ERRORS as error:
                raise self._translate(error) from None

        return await self.insist("schema", attempt)

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._prepared:
                return
            texts = write_statements(self.settings)
            session = self._require()

            def prepare() -> dict[str, Any]:
                prepared = {}
                for name, text in texts.items():
                    prepared[name] = session.prepare(text)
                    prepared[name].fetch_size = _PAGE_ROWS.get(name, 2000)
                return prepared

            async def attempt() -> dict[str, Any]:
                try:
                    return await asyncio.to_thread(prepare)
                except driver.ERRORS as error:
                    if driver.is_refusal(error):
                        # Says which table has which foreign layout, if that is why.
                        missing = await self.layout.check()
                        if missing:
                            raise self._unavailable(
                                f"table {self.settings.keyspace}.{missing[0].name} does not exist; "
                                "make it with 'flowcraft-dagster init'"
                            ) from None
                    raise self._translate(error) from None

            self._prepared = await self.insist("prepare", attempt)

    def _require(self) -> Any:
        if self._session is None:
            raise self._unavailable("not connected; open() was not called or failed")
        return self._session

    def _send(self, bound: Bound, paging_state: bytes | None) -> asyncio.Future[Answer]:
        loop = self._loop
        if loop is None:
            raise self._unavailable("not connected; open() was not called or failed")
        future: asyncio.Future[Answer] = loop.create_future()
        self.requests += 1
        response = self._require().execute_async(bound, paging_state=paging_state)
        response.add_callbacks(
            self._take_rows, self._take_error, callback_args=(future, response), errback_args=(future, response)
        )
        return future

    def _take_rows(self, rows: Rows | None, future: asyncio.Future[Answer], response: Any) -> None:
        # The response holds its callbacks and they hold it: left like that, each request would be a cycle with some
        # thirty objects, and a quarter of a busy worker's time would go into finding them.
        response.clear_callbacks()
        self._take(future, (rows or [], response), None)

    def _take_error(self, error: BaseException, future: asyncio.Future[Answer], response: Any) -> None:
        response.clear_callbacks()
        self._take(future, None, error)

    def _take(self, future: asyncio.Future[Answer], answer: Answer | None, error: BaseException | None) -> None:
        """Called by the driver: on the loop for answers, on any thread when connections are shut down."""
        if threading.get_ident() == self._thread_id:
            self._settle(future, answer, error)
        elif self._loop is not None:
            call_on_loop(self._loop, self._settle, future, answer, error)

    def _settle(self, future: asyncio.Future[Answer], answer: Answer | None, error: BaseException | None) -> None:
        self._end_turn()
        if future.done():
            return
        if answer is not None:
            future.set_result(answer)
        elif error is not None:
            future.set_exception(error)

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # A turn that came in the same moment goes to the next in line.
            if turn.done() and not turn.cancelled():
                self._end_turn()
            raise

    def _end_turn(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._under_way -= 1

    def _translate(self, error: Exception) -> Exception:
        text = driver.describe_error(error)
        if driver.is_refusal(error):
            return self._refused(error)
        self.unanswered += 1
        return Unanswered(text)

    def _refused(self, error: Exception) -> StoreUnavailable:
        text, advice = driver.describe_error(error), driver.advise(error, self.settings)
        if advice is None:
            is_cut_off = driver.is_cut_off(error) and not self.settings.is_encrypted
            return self._unavailable(f"{text}; if it demands TLS, set CASSANDRA_TLS=true" if is_cut_off else text)
        return StoreAccessDenied(text, store=f"cassandra ({self.settings.describe()})", advice=advice)

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(reason, store=f"cassandra ({self.settings.describe()})")
