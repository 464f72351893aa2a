from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from flowcraft_dagster.backends.redis.settings import RedisSettings

SECRET = "s3cr3t-value"


def test_credentials_never_show() -> None:
    settings = RedisSettings.model_validate(
        {"url": f"rediss://user:{SECRET}@redis.example:6380/1", "username": "worker", "password": SECRET}
    )
    assert settings.is_encrypted
    assert settings.describe() == "redis.example:6380"
    assert settings.as_client()["password"] == SECRET
    assert settings.as_client()["ssl_check_hostname"] is True
    for shown in (repr(settings), str(settings), settings.describe(), settings.model_dump_json()):
        assert SECRET not in shown


def test_a_socket_is_described_by_its_path() -> None:
    settings = RedisSettings.model_validate({"url": f"unix://:{SECRET}@/run/redis.sock?db=1"})
    assert settings.describe() == "/run/redis.sock"
    assert not settings.is_encrypted


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": f"http://:{SECRET}@host"}, "redis://"),
        ({"url": "redis://"}, "name the host"),
        ({"url": "redis://127.0.0.1:99999/0"}, "the port is no number from 1 to 65535"),
        ({"url": "redis://127.0.0.1:0"}, "the port is no number from 1 to 65535"),
        ({"url": f"redis://user:{SECRET}/x@127.0.0.1:6379/0"}, "the port is no number"),
        ({"prefix": "a b"}, "letters, digits"),
        ({"tls_cert_file": "a.pem"}, "go together"),
        ({"timeout_seconds": 0}, "greater than 0"),
    ],
)
def test_unusable_settings_are_refused_without_showing_them(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        RedisSettings.model_validate(fields)
    assert SECRET not in str(refused.value)
