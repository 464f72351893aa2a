"""What only Redis has: keys with an end, and few operations."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from flowcraft_dagster.backends.redis import coordination
from flowcraft_dagster.backends.redis.coordination import RedisCoordination
from flowcraft_dagster.backends.redis.settings import RedisSettings
from tests.contract.conftest import Servers

pytestmark = pytest.mark.redis


@pytest.fixture
def settings(servers: Servers) -> RedisSettings:
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    return RedisSettings.model_validate({"url": servers.redis_url, "prefix": prefix, "timeout_seconds": 2.0})


def test_every_key_is_ours_and_ends(settings: RedisSettings) -> None:
    short = settings.model_copy(update={"ttl_seconds": 30.0})

    async def drive() -> None:
        store = RedisCoordination(short)
        assert await store.acquire_lease("reconcile", "one", 5)
        assert await store.acquire_lease("for ever", "one", 1e9)
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            keys = [key async for key in client.scan_iter(match=f"{settings.prefix}:*")]
            lives = sorted([await client.pttl(key) for key in keys])
        assert len(lives) == 2
        assert 0 < lives[0] <= 5000 < lives[1] <= 30_000
        await store.close()

    asyncio.run(drive())


def test_many_wait_on_one_connection_and_operations_are_counted(settings: RedisSettings) -> None:
    async def drive() -> None:
        store = RedisCoordination(settings)
        run_ids = [f"run-{place}" for place in range(50)]
        waiting = [asyncio.ensure_future(store.await_run(run_id, 20)) for run_id in run_ids * 2]
        await asyncio.wait_for(store._subscribed.wait(), 10)
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            assert await client.pubsub_numsub(f"{settings.prefix}:runs") == [(f"{settings.prefix}:runs".encode(), 1)]
        await store.announce_runs(run_ids)
        assert all(await asyncio.gather(*waiting))
        assert store.operations["announcements"] == 50
        assert store.operations["wakeups"] == 100
        assert store._waiting == {}
        await store.close()

    asyncio.run(drive())


def test_a_user_with_rights_on_the_prefix_alone_will_do(settings: RedisSettings) -> None:
    name, prefix = f"user-{settings.prefix}", settings.prefix
    commands = ["+get", "+set", "+del", "+eval", "+evalsha", "+script|load", "+publish", "+subscribe", "+unsubscribe"]
    rights: dict[str, Any] = {
        "enabled": True,
        "passwords": ["+s3cr3t"],
        "keys": [f"{prefix}:*"],
        "channels": [f"{prefix}:*"],
        "commands": [*commands, "+info"],
        "categories": ["+@connection"],
    }
    limited = RedisSettings.model_validate(
        {**settings.model_dump(), "url": settings.url, "username": name, "password": "s3cr3t"}
    )

    async def drive() -> None:
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            await client.acl_setuser(name, **rights)
            store, other = RedisCoordination(limited), RedisCoordination(settings)
            try:
                assert await store.check_health() is None
                assert await store.acquire_lease("a", "one", 5)
                assert not await other.acquire_lease("a", "two", 5)
                await store.release_lease("a", "one")
                assert await other.acquire_lease("a", "two", 5)
                waiting = asyncio.ensure_future(store.await_run("run-1", 20))
                await asyncio.wait_for(_subscription(store), 10)
                await store.announce_runs(["run-1"])
                assert await waiting is True
                assert store.operations["failures"] == 0
            finally:
                await store.close()
                await other.close()
                await client.acl_deluser(name)

    asyncio.run(drive())


async def _subscription(store: RedisCoordination) -> None:
    await asyncio.sleep(0)
    await store._subscribed.wait()


def test_a_server_that_only_lets_read_is_not_well(settings: RedisSettings, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    replica = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--replicaof",
        "127.0.0.1",
        "1",
    ]
    url = SecretStr(f"redis://127.0.0.1:{port}/0")

    async def drive() -> None:
        store = RedisCoordination(settings.model_copy(update={"url": url}))
        trouble = None
        for _ in range(200):
            trouble = await store.check_health()
            if "read only" in str(trouble):
                break
            await asyncio.sleep(0.05)
        assert "read only" in str(trouble)
        # Work goes on, and others are told why leases mean nothing.
        for _ in range(20):
            assert await store.acquire_lease("a", "one", 5)
            await store.announce_runs(["run-1"])
        await store.close()
        assert [record.levelname for record in caplog.records if "refuses" in record.message] == ["WARNING"]

    with subprocess.Popen(replica, stdout=subprocess.DEVNULL) as server:
        try:
            asyncio.run(drive())
        finally:
            server.kill()


def test_what_is_no_announcement_makes_nobody_deaf(settings: RedisSettings) -> None:
    async def drive() -> None:
        store = RedisCoordination(settings)
        waiting = asyncio.ensure_future(store.await_run("run-1", 20))
        await asyncio.wait_for(_subscription(store), 10)
        async with Redis.from_url(settings.url.get_secret_value()) as client:
            for text in ("{not json", '{"run-1": 1}', "[[], 1, null]", "\N{SNOWMAN}"):
                await client.publish(f"{settings.prefix}:runs", text)
        assert not waiting.done()
        await store.announce_runs(["run-1"])
        assert await waiting is True
        await store.close()

    asyncio.run(drive())


def test_a_subscription_whose_connection_died_without_a_word_is_made_anew(
    settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordination, "QUIET_SECONDS", 0.2)
    target = urlsplit(settings.url.get_secret_value())
    lost: set[asyncio.StreamWriter] = set()
    ways: list[asyncio.StreamWriter] = []
    backs: list[asyncio.StreamWriter] = []
    relays: list[asyncio.Future[None]] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if client not in lost:
                writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        ways.append(writer)
        backs.append(back)
        relays.extend(asyncio.ensure_future(carry(*way, writer)) for way in ((reader, back), (there, writer)))

    async def drive() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"redis://127.0.0.1:{port}/0"
        store = RedisCoordination(settings.model_copy(update={"url": SecretStr(url), "rest_seconds": 0.05}))
        waiting = asyncio.ensure_future(store.await_run("run-1", 20))
        await asyncio.wait_for(_subscription(store), 10)
        # Silence alone is no trouble.
        await asyncio.sleep(0.6)
        assert len(ways) == 1
        lost.update(ways)
        # Everybody looks once it is there again, since what was announced meanwhile is unknown.
        assert await waiting is True
        again = asyncio.ensure_future(store.await_run("run-2", 20))
        await asyncio.wait_for(_subscription(store), 10)
        await store.announce_runs(["run-2"])
        assert await again is True
        await store.close()
        server.close()
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
        for writer in [*ways, *backs]:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in [*ways, *backs]), return_exceptions=True)

    asyncio.run(drive())


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[RedisSettings]:
    """A Redis of its own that speaks TLS only and asks clients for a certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "", *files],
            stdout=output,
            cwd=tmp_path,
        )
    try:
        for _ in range(200):
            if b"Ready to accept connections" in log.read_bytes():
                break
            time.sleep(0.05)
        yield RedisSettings.model_validate(
            {
                "url": f"rediss://localhost:{port}/0",
                "tls_ca_file": certificate,
                "tls_cert_file": certificate,
                "tls_key_file": key,
                "timeout_seconds": 5.0,
                "connect_seconds": 5.0,
            }
        )
    finally:
        server.terminate()
        server.wait(10)


def test_connections_are_encrypted_and_certificates_checked(encrypted: RedisSettings) -> None:
    async def ask(settings: RedisSettings) -> str | None:
        store = RedisCoordination(settings)
        try:
            return await store.check_health()
        finally:
            await store.close()

    assert asyncio.run(ask(encrypted)) is None
    # The certificate names localhost, not the address.
    url = encrypted.url.get_secret_value()
    by_address = RedisSettings.model_validate({**encrypted.model_dump(), "url": url.replace("localhost", "127.0.0.1")})
    assert "CERTIFICATE_VERIFY_FAILED" in (asyncio.run(ask(by_address)) or "")
    unchecked = by_address.model_copy(update={"tls_check_hostname": False})
    assert asyncio.run(ask(unchecked)) is None
    stranger = encrypted.model_copy(update={"tls_cert_file": None, "tls_key_file": None})
    assert asyncio.run(ask(stranger)) is not None
