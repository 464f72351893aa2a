"""Where Redis is and how it is used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]{1,100}")


class RedisSettings(BaseModel):
    """Settings of the coordination store. Secrets never show in ``repr`` or errors.

    Attributes:
        url: ``redis://``, ``rediss://`` (encrypted) or ``unix://``, with user, password and database where needed.
        username, password: an access-control user; they win over those in the URL.
        prefix: every key and channel begins with it; an access rule for the user can name it.
        tls_ca_file: certificates that are trusted, PEM; None trusts the system's.
        tls_cert_file, tls_key_file: this client's certificate and key, PEM.
        tls_check_hostname: whether the certificate must name the host.
        timeout_seconds: for one operation. Short: a late hint is worth nothing.
        connect_seconds: for opening a connection.
        ttl_seconds: no key lives longer, whatever is asked for.
        failures: so many failures in a row and Redis is left alone for a while.
        rest_seconds, longest_rest_seconds: for how long, at first and at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    username: str | None = None
    password: SecretStr | None = None
    prefix: str = "flowcraft"
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_check_hostname: bool = True
    timeout_seconds: Annotated[float, Field(gt=0)] = 0.05
    connect_seconds: Annotated[float, Field(gt=0)] = 0.5
    ttl_seconds: Annotated[float, Field(ge=1)] = 86_400.0
    failures: Annotated[int, Field(ge=1)] = 3
    rest_seconds: Annotated[float, Field(gt=0)] = 1.0
    longest_rest_seconds: Annotated[float, Field(gt=0)] = 30.0

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("use redis://, rediss:// or unix://")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError("name the host, for example redis://localhost:6379/0")
        try:
            port = parts.port
        except ValueError:
            # Says nothing of what it is instead: a password with a slash in it would be shown.
            port = 0
        if port == 0:
            raise ValueError("the port is no number from 1 to 65535; write / in a password as %2F")
        return value

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if not _PREFIX.fullmatch(value):
            raise ValueError("use 1 to 100 letters, digits and _ . : { } -")
        return value

    @model_validator(mode="after")
    def _check_pair(self) -> RedisSettings:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return urlsplit(self.url.get_secret_value()).scheme == "rediss"

    def describe(self) -> str:
        """Where the store is, in a few words without secrets."""
        parts = urlsplit(self.url.get_secret_value())
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname}:{parts.port or 6379}"

    def as_client(self) -> dict[str, Any]:
        """Options of a client beside the URL. Holds secrets in the clear: never log it."""
        options: dict[str, Any] = {
            "socket_timeout": self.timeout_seconds,
            "socket_connect_timeout": self.connect_seconds,
            "decode_responses": True,
        }
        if self.username is not None:
            options["username"] = self.username
        if self.password is not None:
            options["password"] = self.password.get_secret_value()
        if self.is_encrypted:
            options["ssl_check_hostname"] = self.tls_check_hostname
            for name, path in (
                ("ssl_ca_certs", self.tls_ca_file),
                ("ssl_certfile", self.tls_cert_file),
                ("ssl_keyfile", self.tls_key_file),
            ):
                if path is not None:
                    options[name] = str(path)
        return options
