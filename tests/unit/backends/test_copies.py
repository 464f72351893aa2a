"""Doctor warns of data that has a single copy, where losing it would matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.copies import are_remote, count_copies, warn_of_keyspace, warn_of_topics
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.kafka.admin import TopicFacts
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.cli.doctor import Check
from flowcraft_dagster.errors import StoreUnavailable

SIMPLE = "org.apache.cassandra.locator.SimpleStrategy"
NETWORK = "org.apache.cassandra.locator.NetworkTopologyStrategy"


@pytest.mark.parametrize(
    ("replication", "copies"),
    [
        ({"class": SIMPLE, "replication_factor": "1"}, 1),
        ({"class": NETWORK, "dc1": "3"}, 3),
        ({"class": NETWORK, "dc1": "3", "dc2": "1"}, 1),
        ({"class": NETWORK, "dc1": "3/1"}, 3),
        ({"class": "org.apache.cassandra.locator.LocalStrategy"}, 1),
    ],
)
def test_copies_are_those_of_the_poorest_data_centre(replication: dict[str, str], copies: int) -> None:
    assert count_copies(replication) == copies


@pytest.mark.parametrize(
    ("hosts", "remote"),
    [
        (["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"], False),
        (["127.0.0.1", "10.0.0.5"], True),
        (["cassandra"], True),
        ([], False),
    ],
)
def test_only_this_machine_is_not_remote(hosts: list[str], remote: bool) -> None:
    assert are_remote(hosts) is remote


def test_what_is_safe_is_not_warned_of() -> None:
    assert warn_of_keyspace("k", 3, "periodic") is None
    assert warn_of_keyspace("k", 1, "batch") is None
    assert warn_of_keyspace("k", 1, "group") is None
    assert "commitlog_sync is periodic" in (warn_of_keyspace("k", 1, "periodic") or "")
    assert "commitlog_sync is unknown" in (warn_of_keyspace("k", 1, None) or "")
    assert warn_of_topics([("a", 3), ("b", 2)]) is None
    assert "one copy of b" in (warn_of_topics([("a", 3), ("b", 1)]) or "")


class _Cassandra:
    """Answers what the check asks a session."""

    is_open, requests, unanswered = True, 0, 0

    def __init__(self, host: str, sync: str | None, copies: str) -> None:
        self.settings = CassandraSettings(contact_points=(host,))
        self.layout = self
        self._sync, self._copies = sync, copies

    async def open(self) -> None: ...

    async def check(self) -> tuple[()]:
        return ()

    async def describe_server(self) -> str:
        return "Cassandra 5"

    async def run_cql(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any]]:
        if "system_views" in text:
            if self._sync is None:
                raise StoreUnavailable("unauthorized", store="cassandra")
            return [(self._sync,)]
        assert parameters == ("flowcraft_ks",)
        return [({"class": SIMPLE, "replication_factor": self._copies},)]


@pytest.mark.parametrize(
    ("host", "sync", "copies", "warned"),
    [
        ("db-1", "periodic", "1", True),
        ("db-1", None, "1", True),
        ("db-1", "group", "1", False),
        ("db-1", "periodic", "3", False),
        ("127.0.0.1", "periodic", "1", False),
    ],
)
async def test_a_single_copy_of_runs_is_warned_of(host: str, sync: str | None, copies: str, warned: bool) -> None:
    backend = KafkaBackend()
    session: Any = _Cassandra(host, sync, copies)
    backend._session = session
    report = await backend._check_cassandra()
    assert report.ok
    assert (report.warning is not None) is warned
    assert Check(report.name, report.ok, report.detail, report.warning).verdict == ("WARNING" if warned else "ok")


@pytest.mark.parametrize(("broker", "copies", "warned"), [("kafka:9092", 1, True), ("kafka:9092", 3, False),
                                                          ("127.0.0.1:9092", 1, False), ("[::1]:9092", 1, False)])
async def test_a_single_copy_of_messages_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, broker: str, copies: int, warned: bool
) -> None:
    backend = KafkaBackend(KafkaSettings(brokers=(broker,)))

    async def describe_cluster() -> str:
        return "Kafka"

    async def describe_topic(name: str) -> TopicFacts:
        return TopicFacts("id", tuple(range(12)), copies)

    async def measure_lag() -> int:
        return 0

    monkeypatch.setattr(backend._admin, "describe_cluster", describe_cluster)
    monkeypatch.setattr(backend._admin, "describe_topic", describe_topic)
    monkeypatch.setattr(backend.jobs, "measure_lag", measure_lag)
    report = await backend._check_kafka()
    assert report.ok
    assert ("one copy of flowcraft-jobs" in (report.warning or "")) is warned
