"""What to do when a server does not let us in: the same words for Kafka, Cassandra and Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from flowcraft_dagster.errors import SettingsError


class HasCertificates(Protocol):
    """Settings that name certificates and a key."""

    @property
    def tls_ca_file(self) -> Path | None:
        """Certificates that are trusted."""

    @property
    def tls_cert_file(self) -> Path | None:
        """This client's certificate."""

    @property
    def tls_key_file(self) -> Path | None:
        """Its key."""


def advise_credentials(prefix: str) -> str:
    """What to do when user and password are refused.

    Args:
        prefix: of the server's variables, for example ``KAFKA_SASL``.
    """
    return f"Check {prefix}_USERNAME and {prefix}_PASSWORD."


def advise_certificate(prefix: str) -> str:
    """What to do when the TLS handshake fails.

    Args:
        prefix: of the server's variables, for example ``KAFKA``.
    """
    return (
        f"Check that the port takes TLS, that {prefix}_TLS_CA_FILE holds the authority that signed the server's "
        "certificate, and that the certificate names the host."
    )


def advise_right(user: str | None) -> str:
    """What to do when the server knows the user and refuses the request."""
    whom = f"user '{user}'" if user else "the user"
    return f"Grant {whom} the right: see 'Rights' in docs/howto/production.md."


def require_files(prefix: str, settings: HasCertificates) -> None:
    """See that certificates and key can be read: what the servers' clients say of it names no file.

    Args:
        prefix: of the server's variables, for example ``KAFKA``.
        settings: the server's.

    Raises:
        SettingsError: one cannot be read; names variable and file.
    """
    for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        try:
            path.open("rb").close()
        except OSError as error:
            reason = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
            raise SettingsError(reason, name=f"{prefix}_{name.upper()}") from None
