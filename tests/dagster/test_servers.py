"""Resources for Kafka, Cassandra and Redis: what they say, and the whole Dagster side on real servers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster import (
    CassandraStoreResource,
    FlowcraftClientResource,
    KafkaBackendResource,
    KafkaJobQueueResource,
    RedisCoordinationResource,
    Settings,
    StartRequest,
)
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.orchestration.connection import close_connections
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.status_sensor import StatusSensorOptions
from flowcraft_dagster.runtime.requests import encode_request
from tests.dagster.conftest import SAMPLE_APP, Site, WorkerThread, sample_catalogue
from tests.dagster.sample_app import app as sample_app


def test_fields_become_settings_of_the_same_name() -> None:
    resource = KafkaBackendResource(
        queue=KafkaJobQueueResource(
            brokers="a:1,b:2",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            sasl_username="u",
            sasl_password="p",
            further={"KAFKA_PARTITIONS": "3"},
        ),
        store=CassandraStoreResource(contact_points="c,d", port=9999, username="cu", password="cp", keyspace="ks"),
        coordination=RedisCoordinationResource(url="rediss://:secret@r:1/0", prefix="mine"),
    )
    variables = resource.list_variables()
    kafka = read_settings(KafkaSettings, "KAFKA", variables)
    cassandra = read_settings(CassandraSettings, "CASSANDRA", variables)
    redis = read_settings(RedisSettings, "REDIS", variables)

    assert variables["FLOWCRAFT_BACKEND"] == "kafka"
    assert (kafka.brokers, kafka.sasl_username, kafka.partitions) == (("a:1", "b:2"), "u", 3)
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() == "p"
    assert (cassandra.contact_points, cassandra.port, cassandra.keyspace) == (("c", "d"), 9999, "ks")
    assert (redis.url.get_secret_value(), redis.prefix) == ("rediss://:secret@r:1/0", "mine")


def test_empty_fields_leave_it_to_the_environment() -> None:
    empty = KafkaBackendResource(
        queue=KafkaJobQueueResource(), store=CassandraStoreResource(), coordination=RedisCoordinationResource()
    )

    assert empty.list_variables() == {"FLOWCRAFT_BACKEND": "kafka"}


@pytest.mark.parametrize(
    ("resource", "settings"),
    [
        (KafkaJobQueueResource, KafkaSettings),
        (CassandraStoreResource, CassandraSettings),
        (RedisCoordinationResource, RedisSettings),
    ],
)
def test_every_field_is_a_setting_and_documented(resource: Any, settings: Any) -> None:
    for name, field in resource.model_fields.items():
        assert name in settings.model_fields or name == "further"
        assert field.description


def test_secrets_are_not_in_reprs() -> None:
    shown = repr(
        [
            KafkaJobQueueResource(sasl_password="hush"),
            CassandraStoreResource(password="hush"),
            RedisCoordinationResource(url="redis://:hush@r:1/0"),
        ]
    )

    assert "hush" not in shown


def make_backend_resource(
    *,
    brokers: str,
    contact_points: str,
    redis: str,
    cassandra_port: int = 0,
    kafka: Mapping[str, Any] | None = None,
    cassandra: Mapping[str, Any] | None = None,
) -> KafkaBackendResource:
    """Topics, group, keyspace and keys of its own."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    more = dict(kafka or {})
    return KafkaBackendResource(
        queue=KafkaJobQueueResource(
            brokers=brokers,
            jobs_topic=name,
            letters_topic=f"{name}.dlq",
            requests_topic=f"{name}.requests",
            group_id=f"{name}-group",
            further={"KAFKA_PARTITIONS": "4", **more.pop("further", {})},
            **more,
        ),
        store=CassandraStoreResource(
            contact_points=contact_points, port=cassandra_port, keyspace=name.replace("-", "_"), **(cassandra or {})
        ),
        coordination=RedisCoordinationResource(url=redis, prefix=name),
    )


@pytest.fixture
def servers(
    stack: dict[str, str],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """The sample app on real servers; topics, group, keyspace and keys are the test's own."""
    for name, value in stack.items():
        monkeypatch.setenv(name, value)
    backend = make_backend_resource(
        brokers=dg.EnvVar("KAFKA_BROKERS"),
        contact_points=dg.EnvVar("CASSANDRA_CONTACT_POINTS"),
        redis=dg.EnvVar("REDIS_URL"),
    )
    definitions = build_flowcraft_definitions(
        SAMPLE_APP, backend=backend, status_options=StatusSensorOptions(safety_lag_seconds=0.0)
    )
    with FlowcraftClientResource(app=SAMPLE_APP, backend=backend).process_config_and_initialize_cm() as resource:
        settings = Settings.from_env({**stack, **resource.backend.list_variables()})
        site = Site(sample_app, settings.home, resource, definitions, sample_catalogue(), instance)
        connection = resource.connect()
        connection.call(connection.backend.create_schema())
        worker = WorkerThread(sample_app, settings)
        worker.start()
        yield site
        worker.stop()
    close_connections()


def count_runs(event: dg.AssetMaterialization) -> int:
    figure: Any = event.metadata["runs"].value
    return int(figure)


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
def test_launches_requests_status_and_reconciliation_on_real_servers(servers: Site) -> None:
    op = {"start_flowcraft_runs_op": {"config": {"blueprint_id": 400, "context": {"n": 1}}}}
    launched = servers.run_job("start_flowcraft_runs", {"ops": op})
    assert launched.success
    assert servers.client.result(launched.run_id).outputs == {"step1": 2, "step2": 4}

    values = [encode_request(StartRequest("400", {"n": n})) for n in range(20)]
    servers.connection.call(servers.connection.backend.requests.send_requests([*values, b"no request"]))
    tick = servers.tick("flowcraft_run_request_sensor")
    (request,) = tick.run_requests
    for _ in range(2):
        started = servers.run_job("start_requested_flowcraft_runs", dict(request.run_config), tags=request.tags)
        assert len(started.output_for_node("start_requested_flowcraft_runs_op")) == 20
    assert servers.tick("flowcraft_run_request_sensor", tick.cursor).skip_message == "no new requests"
    for run_id in started.output_for_node("start_requested_flowcraft_runs_op"):
        assert servers.client.wait(run_id, 60).status == "completed"
    letters = servers.connection.call(servers.connection.backend.dead_letters.list_letters(10))
    assert {letter.value for letter in letters} == {b"no request"}

    shown, cursor = 0, None
    deadline = time.monotonic() + 30
    while shown < 20 and time.monotonic() < deadline:
        tick = servers.tick("flowcraft_status_sensor", cursor)
        cursor = tick.cursor
        shown += sum(count_runs(event) for event in tick.asset_events if isinstance(event, dg.AssetMaterialization))
    assert shown == 20

    reconciled = servers.run_job("reconcile_flowcraft_runs")
    assert reconciled.success
    checks = {event.check_name: event.passed for event in reconciled.get_asset_check_evaluations()}
    assert checks == {
        "no_stalled_runs": True,
        "servers_answer": True,
        "workers_are_alive": True,
        "queue_is_short": True,
        "no_dead_letters": False,
        "nobody_waits_long": True,
    }
