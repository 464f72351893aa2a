"""What is said of a broker that does not let us in."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.messages import encode_message
from flowcraft_dagster.backends.kafka.producer import KafkaProducer
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.backends.kafka.troubles import HELD_SECONDS, Troubles
from flowcraft_dagster.errors import QueueAccessDenied, QueueUnavailable, SettingsError
from flowcraft_dagster.ports.records import Message

SCRAM = KafkaSettings.model_validate(
    {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "somebody",
        "sasl_password": "open-sesame",
    }
)
OAUTH = KafkaSettings.model_validate(
    {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": "https://login.example.com",
        "oauth_client_id": "somebody",
        "oauth_client_secret": "open-sesame",
    }
)
SILENT = KafkaError(KafkaError._TIMED_OUT)


@pytest.mark.parametrize(
    ("settings", "code", "expected"),
    [
        (SCRAM, KafkaError._AUTHENTICATION, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        (OAUTH, KafkaError._AUTHENTICATION, "KAFKA_OAUTH_CLIENT_SECRET"),
        (SCRAM, KafkaError._SSL, "KAFKA_TLS_CA_FILE"),
    ],
)
def test_silence_is_explained_by_what_the_client_heard(settings: KafkaSettings, code: int, expected: str) -> None:
    told: list[KafkaError] = []
    troubles = Troubles(settings, told.append)
    heard = KafkaError(code, "not this way")
    troubles.note(heard)
    troubles.note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    for error in (SILENT, None):
        found = troubles.explain("jobs", error, "no answer")
        assert isinstance(found, QueueAccessDenied)
        assert str(found) == "no access to job queue jobs: not this way"
        assert expected in found.hint
    assert told[0] is heard


def test_what_was_heard_before_an_answer_or_long_ago_explains_nothing() -> None:
    now = 0.0
    troubles = Troubles(SCRAM, clock=lambda: now)
    troubles.note(KafkaError(KafkaError._SSL))
    troubles.forget()
    assert type(troubles.explain("jobs", SILENT, "no answer")) is QueueUnavailable
    troubles.note(KafkaError(KafkaError._SSL))
    now = HELD_SECONDS
    found = troubles.explain("jobs", SILENT, "no answer")
    assert (type(found), str(found)) == (QueueUnavailable, "job queue jobs is away: no answer")


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    ],
)
@pytest.mark.parametrize("settings", [SCRAM, OAUTH])
def test_a_missing_right_says_who_lacks_it(settings: KafkaSettings, code: int) -> None:
    found = Troubles(settings).explain("jobs", KafkaError(code), "no answer")
    assert isinstance(found, QueueAccessDenied)
    assert "user 'somebody'" in found.hint
    assert "docs/howto/production.md" in found.hint


async def test_a_certificate_that_cannot_be_used_names_its_setting(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    missing = tmp_path / "missing.pem"
    for path, reason in ((broken, "ssl.ca.location failed"), (missing, f"{missing} cannot be read: no such file")):
        settings = SCRAM.model_copy(update={"tls_ca_file": path})
        message = encode_message(Message("run-1", b"{}"))
        for request in (
            KafkaProducer(settings).send("jobs", [message]),
            KafkaAdmin(settings).describe_cluster(),
            KafkaReader(settings).read("jobs", 0, 0, 1),
        ):
            with pytest.raises(SettingsError, match=r"^setting KAFKA_TLS_CA_FILE: ") as raised:
                await request
            assert reason in str(raised.value)
