"""Nobody hears from Cassandra what became of a commit: it took effect, or it never arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from flowcraft_dagster import StartRequest
from tests.integration.kafka.site import Site, wait_until, wait_until_async

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(120)]


@dataclass
class Relay:
    """Stands between clients and a server.

    Attributes:
        loses: what is thrown away: ``answers`` of the server while requests arrive, or ``requests``.
        port: where clients find it.
    """

    target: int
    loses: str | None = None
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _carriers: list[asyncio.Future[None]] = field(default_factory=list)

    def heal(self) -> None:
        """Let everything through. Connections that have lost something are of no use any more."""
        self.loses = None
        for writer in self._writers:
            writer.close()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Relay]:
        """The relay while it works."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.heal()
            for carrier in self._carriers:
                carrier.cancel()
            await asyncio.gather(*self._carriers, return_exceptions=True)
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers += [writer, requests]
        self._carriers += [
            asyncio.ensure_future(self._carry(reader, requests, "requests")),
            asyncio.ensure_future(self._carry(answers, writer, "answers")),
        ]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str) -> None:
        while data := await reader.read(65536):
            if self.loses != what:
                writer.write(data)
        writer.close()


@pytest.mark.parametrize("lost", ["answers", "requests"])
async def test_commit_without_an_answer_is_found_out_about(site: Site, lost: str) -> None:
    async with site.client() as client, Relay(int(site.stack["CASSANDRA_PORT"])).opened() as relay:
        # The worker goes through the relay, and the client knows what really happens.
        site.overrides |= {
            "CASSANDRA_PORT": str(relay.port),
            "CASSANDRA_REQUEST_SECONDS": "1",
            "CASSANDRA_GIVE_UP_SECONDS": "2",
        }
        async with site.worker() as worker:
            del site.overrides["CASSANDRA_PORT"]
            run_ids = await client.start_many([StartRequest("gated")] * 5)

            def are_held() -> bool:
                return all(site.record.find_worker(run_id, "held") for run_id in run_ids)

            async def are_committed() -> bool:
                runs = [await client.backend.state.load_run(run_id) for run_id in run_ids]
                return all(run is not None and any(row.key == "end/held" for row in run.rows) for run in runs)

            await wait_until("the nodes run", are_held)
            relay.loses = lost
            for run_id in run_ids:
                site.open_gate(run_id)
            if lost == "answers":
                await wait_until_async("the commits took effect", are_committed)
            await wait_until("the worker knows of trouble", lambda: worker.describe_health()["trouble"] is not None)
            assert [site.record.count_begins(run_id)["z"] for run_id in run_ids] == [0] * 5
            assert await are_committed() == (lost == "answers")
            relay.heal()
            for run_id in run_ids:
                result = await client.wait(run_id, 60)
                assert (result.status, result.outputs) == ("completed", {"a": 1, "held": "open", "z": 1})
                assert site.record.count_begins(run_id) == {"a": 1, "held": 1, "z": 1}
                assert (await client.status(run_id)).epoch == 1
            assert worker.describe_health()["trouble"] is None
