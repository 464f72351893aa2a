from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flowcraft_dagster.backends.cassandra.driver import make_tls_context
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import SettingsError

SECRET = "AstraCS:s3cr3t-value"


def test_credentials_never_show() -> None:
    settings = CassandraSettings.model_validate(
        {"secure_connect_bundle": "/secrets/bundle.zip", "username": "token", "password": SECRET, "replication": None}
    )
    assert settings.is_encrypted
    assert settings.describe() == "bundle bundle.zip, keyspace flowcraft_ks"
    for shown in (repr(settings), str(settings), settings.describe(), settings.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keyspace": "a; DROP KEYSPACE b"}, "lower-case"),
        ({"tables": {"contexts": "x y"}}, "lower-case"),
        ({"tables": {"contexts": "statuses"}}, "two tables are named"),
        ({"username": "u"}, "go together"),
        ({"password": SECRET}, "go together"),
        ({"tls_key_file": "a.pem"}, "go together"),
        ({"secure_connect_bundle": "b.zip"}, "needs username"),
        ({"contact_points": ()}, "contact point"),
        ({"replication": {}}, "at least one data centre"),
        ({"replication": {"dc1": 0}}, "at least one replica"),
        ({"replication": {"*": 1, "dc1": 1}}, "stands alone"),
        ({"replication": {"dc'1": 1}}, "letters, digits"),
        ({"consistency": "ANY"}, "LOCAL_QUORUM"),
    ],
)
def test_unusable_settings_are_refused_without_showing_them(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        CassandraSettings.model_validate(fields)
    assert SECRET not in str(refused.value)


def test_tls_checks_the_host_unless_told_otherwise() -> None:
    context = make_tls_context(CassandraSettings(tls=True))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not make_tls_context(CassandraSettings(tls=True, tls_check_hostname=False)).check_hostname


def test_an_unreadable_certificate_is_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    with pytest.raises(SettingsError, match="CASSANDRA_TLS_CA_FILE: cannot be used: "):
        make_tls_context(CassandraSettings(tls=True, tls_ca_file=broken))
    missing = tmp_path / "missing.pem"
    with pytest.raises(SettingsError) as raised:
        make_tls_context(CassandraSettings(tls=True, tls_ca_file=missing))
    assert str(raised.value) == f"setting CASSANDRA_TLS_CA_FILE: {missing} cannot be read: no such file or directory"
    with pytest.raises(SettingsError, match="CASSANDRA_TLS_CERT_FILE: cannot be used: "):
        make_tls_context(CassandraSettings(tls=True, tls_cert_file=broken, tls_key_file=broken))
