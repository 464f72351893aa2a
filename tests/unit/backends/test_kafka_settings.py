from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from flowcraft_dagster.backends.kafka.settings import KafkaSettings

SECRET = "s3cr3t-value"

SECURED: tuple[dict[str, Any], ...] = (
    {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": SECRET},
    {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "u",
        "sasl_password": SECRET,
    },
    {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": "https://login.example/token",
        "oauth_client_id": "client",
        "oauth_client_secret": SECRET,
        "oauth_scope": "kafka",
        "oauth_extensions": "logicalCluster=lkc-1,identityPoolId=pool-1",
    },
    {"security_protocol": "SSL", "tls_ca_file": "/etc/ca.pem", "tls_check_hostname": False},
    {"secret_options": {"ssl.keystore.password": SECRET}},
)


def test_a_plain_broker_needs_only_its_address() -> None:
    settings = KafkaSettings(brokers=("kafka:29092", "other:9092"))
    config = settings.as_librdkafka()
    assert config["bootstrap.servers"] == "kafka:29092,other:9092"
    assert config["security.protocol"] == "PLAINTEXT"
    assert not settings.is_encrypted


def test_the_promises_stand_in_the_options() -> None:
    settings = KafkaSettings(session_seconds=2, max_poll_seconds=60)
    producer, consumer = settings.as_producer(), settings.as_consumer("host-1")
    assert (producer["enable.idempotence"], producer["acks"]) == (True, "all")
    assert consumer["enable.auto.offset.store"] is False
    assert consumer["enable.auto.commit"] is False
    assert consumer["auto.offset.reset"] == "earliest"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert consumer["group.instance.id"] == "flowcraft-worker-group-host-1"
    assert (consumer["session.timeout.ms"], consumer["max.poll.interval.ms"]) == (2000, 60_000)
    assert consumer["heartbeat.interval.ms"] < 2000 / 3
    assert settings.as_reader()["auto.offset.reset"] == "error"
    # Every piece of a topic would wait for it; half a second by default.
    assert settings.as_reader()["fetch.wait.max.ms"] <= 50
    # Runs in partitions that were added wait until a worker hears of them.
    for config in (producer, consumer):
        assert config["topic.metadata.refresh.interval.ms"] <= 30_000
        # Nobody waits for longer for a broker that has gone without a word.
        assert config["socket.timeout.ms"] <= 30_000
    assert "group.instance.id" not in KafkaSettings(static_membership=False).as_consumer("host-1")


def test_the_new_group_protocol_takes_no_assignor() -> None:
    consumer = KafkaSettings(options={"group.protocol": "consumer"}).as_consumer("host-1")
    assert not {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"} & consumer.keys()
    assert consumer["group.protocol"] == "consumer"


@pytest.mark.parametrize("fields", SECURED, ids=lambda fields: str(fields.get("sasl_mechanism", "other")))
def test_secrets_reach_librdkafka_and_nobody_else(fields: dict[str, Any]) -> None:
    settings = KafkaSettings.model_validate(fields)
    has_secret = SECRET in str(fields)
    assert (SECRET in settings.as_librdkafka().values() or SECRET in settings.as_producer().values()) == has_secret
    for shown in (repr(settings), str(settings), settings.describe(), settings.model_dump_json()):
        assert SECRET not in shown


def test_oauth_uses_openid_connect() -> None:
    config = KafkaSettings.model_validate(SECURED[2]).as_librdkafka()
    assert config["sasl.oauthbearer.method"] == "oidc"
    assert config["sasl.oauthbearer.token.endpoint.url"] == "https://login.example/token"
    assert config["sasl.oauthbearer.extensions"] == "logicalCluster=lkc-1,identityPoolId=pool-1"
    assert "sasl.username" not in config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"brokers": ()}, "at least one broker"),
        ({"brokers": ("kafka",)}, "not host:port"),
        ({"brokers": ("kafka:²",)}, "not host:port"),
        ({"brokers": ("kafka:99999",)}, "has no port from 1 to 65535"),
        ({"brokers": ("kafka:0",)}, "has no port from 1 to 65535"),
        ({"jobs_topic": "no such/topic"}, "letters, digits"),
        ({"jobs_topic": "same", "letters_topic": "same"}, "different names"),
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism goes with"),
        ({"sasl_mechanism": "PLAIN"}, "sasl_mechanism goes with"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "needs sasl_username"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "needs oauth_token_url"),
        ({"tls_cert_file": "a.pem"}, "go together"),
        ({"revoke_seconds": 300}, "less than max_poll_seconds"),
        ({"session_seconds": 400}, "not be more than max_poll_seconds"),
        ({"retention_hours": 1}, "greater than or equal to 168"),
        ({"options": {"enable.auto.commit": True}}, "cannot be changed"),
        ({"secret_options": {"group.id": "x"}}, "cannot be changed"),
        ({"options": {"sasl.password": SECRET}}, "secret_options"),
        ({"options": {"Bad Name": "x"}}, "no option name"),
        ({"option": {}}, "Extra inputs"),
    ],
)
def test_unusable_settings_are_refused_without_showing_them(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        KafkaSettings.model_validate(fields)
    assert SECRET not in str(refused.value)


def test_settings_never_change() -> None:
    settings = KafkaSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.group_id = "other"  # type: ignore[misc]


def test_librdkafka_knows_every_option() -> None:
    settings = KafkaSettings(options={"socket.nagle.disable": True, "fetch.min.bytes": 1, "batch.size": 1000})
    # Clients are lazy: an unknown option raises, a missing broker does not.
    quiet = {"log_level": 0}
    assert Producer({**settings.as_producer(), **quiet}) is not None
    for config in (settings.as_consumer("s"), settings.as_reader()):
        Consumer({**config, **quiet}).close()
    assert AdminClient(settings.as_admin()) is not None
    assert "batch.size" not in settings.as_consumer("s")
    assert "fetch.min.bytes" not in settings.as_producer()


@pytest.mark.parametrize("fields", SECURED[:3], ids=["plain", "scram", "oauth"])
def test_librdkafka_takes_every_way_of_signing_in(fields: dict[str, Any]) -> None:
    settings = KafkaSettings.model_validate({**fields, "brokers": ("127.0.0.1:1",)})
    assert Producer({**settings.as_producer(), "log_level": 0}) is not None
