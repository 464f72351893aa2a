"""The parts of scripts/stack that need no server."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stack_servers import compose, jars, local, probes, process, record
from stack_servers.cli import main
from stack_servers.errors import StackError
from stack_servers.kinds import KINDS
from stack_servers.ports import LOOPBACK, is_free, pick_free
from stack_servers.record import Record

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]


@contextmanager
def answering(reply: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server on loopback that answers one request; the port it listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(reply(connection.recv(1024)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def kafka_metadata(brokers: int) -> Callable[[bytes], bytes]:
    def reply(request: bytes) -> bytes:
        (correlation,) = struct.unpack_from(">i", request, 8)
        body = struct.pack(">iii", correlation, 0, brokers)
        return struct.pack(">i", len(body)) + body

    return reply


@pytest.mark.parametrize(
    ("probe", "reply", "expected"),
    [
        (probes.kafka_answers, kafka_metadata(brokers=1), True),
        (probes.kafka_answers, kafka_metadata(brokers=0), False),
        (probes.kafka_answers, lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (probes.cassandra_answers, lambda _: struct.pack(">BBhBi", 0x84, 0, 0, 0x06, 0), True),
        (probes.cassandra_answers, lambda _: struct.pack(">BBhBi", 0x84, 0, 0, 0x00, 0), False),
        (probes.cassandra_answers, lambda _: b"", False),
        (probes.redis_answers, lambda _: b"+PONG\r\n", True),
        (probes.redis_answers, lambda _: b"-LOADING Redis is loading the dataset in memory\r\n", False),
    ],
)
def test_a_probe_believes_only_the_right_answer(
    probe: Callable[[int], bool], reply: Callable[[bytes], bytes], expected: bool
) -> None:
    with answering(reply) as port:
        assert probe(port) is expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_closed_port_does_not_answer(kind: object) -> None:
    assert not KINDS[getattr(kind, "name", "")].answers(pick_free(()))


def test_a_used_port_is_not_free() -> None:
    with listening() as port:
        assert not is_free(port)


def test_free_ports_lie_below_the_ports_of_outgoing_connections() -> None:
    first = pick_free(())
    assert first < 32768
    assert pick_free({first}) != first


def test_chosen_ports_differ_and_keep_the_wanted_ones() -> None:
    wanted = pick_free(())
    chosen = local.choose_ports({"kafka": wanted, "cassandra": 0, "redis": 0})
    ports = [port for server in chosen.values() for port in server.values()]
    assert chosen["kafka"]["client"] == wanted
    assert len(set(ports)) == len(ports) == 6


def test_a_wanted_port_in_use_is_an_error_that_names_the_option() -> None:
    with listening() as port, pytest.raises(StackError, match=rf"port {port} .* in use; .*--redis-port"):
        local.choose_ports({"redis": port})


def test_a_process_is_known_again_and_ended(tmp_path: Path) -> None:
    pid, identity = process.spawn(SLEEPER, tmp_path / "log", tmp_path)
    assert process.is_running(pid, identity)
    process.stop(pid, identity, grace_seconds=10)
    assert not process.is_running(pid, identity)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pid, identity = process.spawn(DEAF, tmp_path / "log", tmp_path)
    process.stop(pid, identity, grace_seconds=0.2)
    assert not process.is_running(pid, identity)


def test_a_later_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    pid, identity = process.spawn(SLEEPER, tmp_path / "log", tmp_path)
    process.stop(pid, "another boot/1", grace_seconds=0.2)
    assert process.is_running(pid, identity)
    process.stop(pid, identity, grace_seconds=0)


def test_a_record_survives_the_command(tmp_path: Path) -> None:
    known = Record("kafka", "local", {"client": 1, "controller": 2}, 17, "boot/1")
    record.save(tmp_path, known)
    assert record.load(tmp_path, "kafka") == known
    assert record.load(tmp_path, "redis") is None
    record.forget(tmp_path, "kafka")
    assert record.load(tmp_path, "kafka") is None


def test_an_unreadable_record_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "stack.json").write_text('{"name": "kaf', encoding="utf-8")
    with pytest.raises(StackError, match=r"kafka/stack\.json"):
        record.load(tmp_path, "kafka")


def test_a_missing_java_is_an_error_that_says_what_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=r"Cassandra needs Java 99; found: .*java is version 8"):
        jars.find_java((99,), "Cassandra needs Java 99")
    assert jars.find_java((8,), "") == str(java)


def test_the_cache_folder_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLOWCRAFT_STACK_CACHE", str(tmp_path))
    fetched = tmp_path / "kafka_2.13-3.9.1"
    fetched.mkdir()
    assert jars.fetch_jars("org.apache.kafka:kafka_2.13:3.9.1") == fetched


def test_without_a_docker_client_there_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compose.engine_answers()


def test_containers_are_commanded_through_both_compose_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\necho redis\n', encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    data = tmp_path / "data"

    assert compose.engine_answers()
    compose.write_override(data, [Record("redis", "compose", {"client": 20003})])
    compose.start(data, ["redis"])
    assert compose.is_running(data, "redis")
    assert not compose.is_running(data, "kafka")
    compose.stop(data, "redis")
    compose.stop(data, "redis", at_once=True)
    compose.down(data, delete=True)

    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    project = calls[2].split()[2]
    prefix = f"compose -p {project} -f {compose.COMPOSE_FILE} -f {data / 'compose.override.yml'} "
    assert calls[:2] == ["info", "compose version"]
    assert {call[: len(prefix)] for call in calls[2:]} == {prefix}
    ps = "ps --services --status running"
    commands = [call.removeprefix(prefix) for call in calls[2:]]
    assert commands == ["up --detach redis", ps, ps, "stop redis", "kill redis", "down --volumes"]
    assert "127.0.0.1:20003:6379" in (data / "compose.override.yml").read_text(encoding="utf-8")


def test_a_failing_docker_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not compose.engine_answers()
    with pytest.raises(StackError, match="docker compose up failed:\nno space left"):
        compose.start(tmp_path, ["redis"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["up", "--with", "mysql"],
        ["up", "--with", ""],
        ["up", "--redis-port", "70000"],
        ["start"],
        ["stop", "mysql"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_a_server_that_the_stack_does_not_have_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "restart", "kafka"]) == 1
    assert "has no kafka; start it with: up --with kafka" in capsys.readouterr().err


def test_the_status_of_an_empty_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWCRAFT_STACK_DATA", str(tmp_path))
    assert main(["status"]) == 1
    assert "no servers" in capsys.readouterr().out
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"data": str(tmp_path), "servers": {}, "environment": {}}
