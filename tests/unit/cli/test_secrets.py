"""What a person sees of a set-up with secrets, also when every server is away."""

from __future__ import annotations

import logging
import socket

import pytest

from flowcraft_dagster.cli import main

SECRET = "hush-4f1c"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(autouse=True)
def servers_that_are_away(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    for name, value in {
        "FLOWCRAFT_BACKEND": "kafka",
        "FLOWCRAFT_DEBUG": "1",
        "KAFKA_BROKERS": f"127.0.0.1:{closed_port}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "flowcraft",
        "KAFKA_SASL_PASSWORD": SECRET,
        "KAFKA_SECRET_OPTIONS": f'{{"sasl.oauthbearer.config": "{SECRET}"}}',
        "KAFKA_REQUEST_SECONDS": "1",
        "CASSANDRA_CONTACT_POINTS": "127.0.0.1",
        "CASSANDRA_PORT": str(closed_port),
        "CASSANDRA_USERNAME": "flowcraft",
        "CASSANDRA_PASSWORD": SECRET,
        "REDIS_URL": f"redis://flowcraft:{SECRET}@127.0.0.1:{closed_port}/0",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "arguments",
    [("doctor",), ("doctor", "--json"), ("runs",), ("init",), ("start", "x"), ("reconcile",), ("dead-letters", "list")],
    ids=" ".join,
)
def test_no_secret_is_shown_when_servers_are_away(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert main(list(arguments)) == 1
    shown = capsys.readouterr()
    assert "127.0.0.1" in shown.out + shown.err
    for text in (shown.out, shown.err, caplog.text):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", f"redis://flowcraft:{SECRET}@:port/x"),
        ("REDIS_URL", f"http://{SECRET}"),
        ("KAFKA_SECRET_OPTIONS", f'{{"x": "{SECRET}"'),
        ("KAFKA_SECRET_OPTIONS", f'["{SECRET}"]'),
        ("KAFKA_SASL_MECHANISM", ""),
        ("CASSANDRA_USERNAME", ""),
        ("CASSANDRA_PORT", "x"),
    ],
)
def test_a_setting_that_is_refused_does_not_show_its_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv("FLOWCRAFT_DEBUG", "")
    monkeypatch.setenv(name, value)
    assert main(["runs"]) in (1, 2)
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
