from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.settings import Settings
from flowcraft_dagster.wiring import find_misspelt

SECRET = "s3cr3t-value"


def test_variables_fill_every_kind_of_field() -> None:
    kafka = read_settings(
        KafkaSettings,
        "KAFKA",
        {
            "KAFKA_BROKERS": " a:9092, b:9092 ,",
            "KAFKA_SESSION_SECONDS": "2.5",
            "KAFKA_STATIC_MEMBERSHIP": "false",
            "KAFKA_PARTITIONS": "3",
            "KAFKA_OPTIONS": '{"socket.nagle.disable": true}',
            "KAFKA_GROUP_ID": "",
            "KAFKA_ADVERTISED_LISTENERS": "the broker's own",
        },
    )
    assert kafka.brokers == ("a:9092", "b:9092")
    assert (kafka.session_seconds, kafka.static_membership, kafka.partitions) == (2.5, False, 3)
    assert kafka.options == {"socket.nagle.disable": True}
    assert kafka.group_id == "flowcraft-worker-group"
    cassandra = read_settings(
        CassandraSettings,
        "CASSANDRA",
        {
            "CASSANDRA_CONTACT_POINTS": "c1,c2",
            "CASSANDRA_TABLES": '{"contexts": "my_contexts"}',
            "CASSANDRA_REPLICATION": "null",
            "CASSANDRA_FINISHED_TTL_SECONDS": "3600",
        },
    )
    assert cassandra.contact_points == ("c1", "c2")
    assert cassandra.tables.contexts == "my_contexts"
    assert (cassandra.replication, cassandra.finished_ttl_seconds) == (None, 3600)


@pytest.mark.parametrize(
    ("model", "prefix", "environment", "name", "reason"),
    [
        (KafkaSettings, "KAFKA", {"KAFKA_PARTITIONS": "many"}, "KAFKA_PARTITIONS", "valid integer"),
        (KafkaSettings, "KAFKA", {"KAFKA_OPTIONS": f"{{{SECRET}"}, "KAFKA_OPTIONS", "not JSON"),
        (KafkaSettings, "KAFKA", {"KAFKA_REVOKE_SECONDS": "1000"}, "KAFKA", "less than max_poll_seconds"),
        (CassandraSettings, "CASSANDRA", {"CASSANDRA_KEYSPACE": "a b"}, "CASSANDRA_KEYSPACE", "lower-case"),
        (CassandraSettings, "CASSANDRA", {"CASSANDRA_TABLES": '{"timers": "X"}'}, "CASSANDRA_TABLES", "timers: "),
        (CassandraSettings, "CASSANDRA", {"CASSANDRA_PASSWORD": SECRET}, "CASSANDRA", "go together"),
        (RedisSettings, "REDIS", {"REDIS_URL": f"http://{SECRET}"}, "REDIS_URL", "redis://"),
    ],
)
def test_an_unusable_value_names_its_variable(
    model: type[BaseModel], prefix: str, environment: dict[str, str], name: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(model, prefix, environment)
    assert refused.value.name == name
    assert reason in str(refused.value)
    assert SECRET not in f"{refused.value} {refused.value.fields}"


def test_values_that_do_not_go_together_name_no_variable_that_is_none() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(CassandraSettings, "CASSANDRA", {"CASSANDRA_PASSWORD": SECRET})
    assert refused.value.hint.startswith("Set the variables that begin with CASSANDRA_ together;")


def test_misspelt_variables_of_servers_are_found_where_servers_are_used() -> None:
    environment = {
        "FLOWCRAFT_BACKEND": "kafka",
        "KAFKA_BROKER": "a:9092",
        "KAFKA_BROKERS": "a:9092",
        "KAFKA_HEAP_OPTS": "-Xmx1G",
        "CASSANDRA_CONTACTPOINTS": "a",
        "CASSANDRA_HOME": "/opt/cassandra",
        "REDIS_": "",
        "PATH": "/bin",
    }
    assert find_misspelt(Settings.from_env(environment)) == {
        "CASSANDRA_CONTACTPOINTS": "CASSANDRA_CONTACT_POINTS",
        "KAFKA_BROKER": "KAFKA_BROKERS",
    }
    assert find_misspelt(Settings.from_env({**environment, "FLOWCRAFT_BACKEND": "embedded"})) == {}


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({}, ".flowcraft"),
        ({"DAGSTER_HOME": "/d"}, "/d/flowcraft"),
        ({"FLOWCRAFT_HOME": "/f", "DAGSTER_HOME": "/d"}, "/f"),
        # Dagster follows a tilde in its variable, which no shell has seen in the file of a service.
        ({"DAGSTER_HOME": "~/d"}, "/people/ada/d/flowcraft"),
        ({"FLOWCRAFT_HOME": "~/f"}, "/people/ada/f"),
    ],
)
def test_where_the_data_lie(environment: dict[str, str], home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/people/ada")
    assert Settings.from_env(environment).home == Path(home)


def test_a_backend_is_made_without_connecting() -> None:
    backend = KafkaBackend.from_env({"KAFKA_BROKERS": "nowhere:9092", "REDIS_URL": "redis://nowhere"})
    assert backend.name == "kafka"
