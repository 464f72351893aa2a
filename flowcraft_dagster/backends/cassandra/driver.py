"""The only module that imports the Cassandra driver: connecting, and telling its errors apart."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from flowcraft_dagster.backends.access import advise_certificate, advise_credentials, advise_right, require_files
from flowcraft_dagster.backends.cassandra.reactor import allow_import
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import SettingsError

allow_import()

from cassandra import (  # noqa: E402  # see allow_import
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    RequestValidationException,
    Unauthorized,
    UnsupportedOperation,
)
from cassandra.auth import PlainTextAuthProvider  # noqa: E402
from cassandra.cluster import (  # noqa: E402
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResultSet,
    Session,
)
from cassandra.connection import ConnectionException, ConnectionShutdown  # noqa: E402
from cassandra.policies import (  # noqa: E402
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage, SyntaxException  # noqa: E402
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, PreparedStatement, tuple_factory  # noqa: E402
from cassandra.util import uuid_from_time  # noqa: E402

__all__ = [
    "ERRORS",
    "UNSET_VALUE",
    "BatchStatement",
    "BatchType",
    "ConsistencyLevel",
    "PreparedStatement",
    "ResultSet",
    "Session",
    "advise",
    "connect_cluster",
    "describe_error",
    "is_cut_off",
    "is_refusal",
    "uuid_from_time",
]

RECONNECT_SECONDS = 1.0

ERRORS = (DriverException, NoHostAvailable, ConnectionException, ErrorMessage, OSError)
"""What driver and server raise. Unless it is a refusal, nothing is known of the request's outcome."""


class NeverRetry(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """Leave every retry to the session: only it knows how to find out what an unknown outcome was."""

    def on_read_timeout(self, *args: Any, **kwargs: Any) -> tuple[int, None]:
        """Raise it."""
        return self.RETHROW, None

    def on_write_timeout(self, *args: Any, **kwargs: Any) -> tuple[int, None]:
        """Raise it."""
        return self.RETHROW, None

    def on_unavailable(self, *args: Any, **kwargs: Any) -> tuple[int, None]:
        """Raise it."""
        return self.RETHROW, None

    def on_request_error(self, *args: Any, **kwargs: Any) -> tuple[int, None]:
        """Raise it."""
        return self.RETHROW, None


def connect_cluster(
    settings: CassandraSettings, connection_class: type[Any], access: Mapping[str, Any] | None = None
) -> tuple[Cluster, Session]:
    """Connect; blocks for up to ``connect_seconds`` for each contact point, so never on the loop's own thread.

    Args:
        settings: where and how.
        connection_class: made by ``bind_to_loop``.
        access: options that replace what the settings say of reaching and entering the cluster.

    Raises:
        SettingsError: certificates or bundle cannot be used. Everything else is one of ``ERRORS``.
    """
    levels = ConsistencyLevel.name_to_value
    profile = ExecutionProfile(
        # Writes of one run go to the same coordinator, which keeps conditional writes from contending.
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=settings.datacenter or ""), shuffle_replicas=False
        ),
        retry_policy=NeverRetry(),
        consistency_level=levels[settings.consistency],
        serial_consistency_level=levels[settings.serial_consistency],
        request_timeout=settings.request_seconds,
        # Named tuples cost a new class for each answer.
        row_factory=tuple_factory,
    )
    options: dict[str, Any] = {
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "connection_class": connection_class,
        "reconnection_policy": ConstantReconnectionPolicy(RECONNECT_SECONDS, None),
        "protocol_version": settings.protocol_version,
        "connect_timeout": settings.connect_seconds,
        "control_connection_timeout": settings.connect_seconds,
        "idle_heartbeat_interval": 10,
        "idle_heartbeat_timeout": 10,
        "monitor_reporting_enabled": False,
    }
    if settings.username is not None and settings.password is not None:
        options["auth_provider"] = PlainTextAuthProvider(settings.username, settings.password.get_secret_value())
    if access is not None:
        options.update(access)
    elif settings.secure_connect_bundle is not None:
        options["cloud"] = {
            "secure_connect_bundle": str(settings.secure_connect_bundle),
            # The bundle may lie in a folder that cannot be written.
            "use_default_tempdir": True,
        }
    else:
        options["contact_points"] = list(settings.contact_points)
        options["port"] = settings.port
        if settings.tls:
            options["ssl_context"] = make_tls_context(settings)
    try:
        cluster = Cluster(**options)
    except (OSError, ValueError, KeyError) as error:
        if settings.secure_connect_bundle is None:
            raise
        raise SettingsError(f"cannot be used: {error}", name="CASSANDRA_SECURE_CONNECT_BUNDLE") from None
    try:
        return cluster, cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise


def make_tls_context(settings: CassandraSettings) -> ssl.SSLContext:
    """The TLS side of a connection.

    Raises:
        SettingsError: a certificate or key cannot be read.
    """
    require_files("CASSANDRA", settings)
    name = "CASSANDRA_TLS_CA_FILE"
    try:
        context = ssl.create_default_context(cafile=str(settings.tls_ca_file) if settings.tls_ca_file else None)
        context.check_hostname = settings.tls_check_hostname
        if settings.tls_cert_file is not None and settings.tls_key_file is not None:
            name = "CASSANDRA_TLS_CERT_FILE"
            context.load_cert_chain(str(settings.tls_cert_file), str(settings.tls_key_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"cannot be used: {error}", name=name) from None
    return context


def is_refusal(error: BaseException) -> bool:
    """Whether the server understood the request and will refuse it again: a missing table or right."""
    kinds = (RequestValidationException, InvalidRequest, Unauthorized, AuthenticationFailed, UnsupportedOperation)
    if isinstance(error, NoHostAvailable):
        causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
        return bool(causes) and all(is_refusal(cause) for cause in causes)
    return isinstance(error, (*kinds, SyntaxException))


def advise(error: BaseException, settings: CassandraSettings) -> str | None:
    """What to do about a user, password, certificate or right; None when the error is about something else."""
    if isinstance(error, NoHostAvailable):
        causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
        found = [advise(cause, settings) for cause in causes if isinstance(cause, BaseException)]
        # One node that answers otherwise may come back, so all of them must agree.
        return found[0] if found and None not in found else None
    if isinstance(error, AuthenticationFailed):
        return advise_credentials("CASSANDRA")
    if isinstance(error, Unauthorized):
        return advise_right(settings.username)
    # The driver wraps it into an error of the operating system.
    if isinstance(error, OSError) and "[SSL" in str(error):
        return advise_certificate("CASSANDRA")
    return None


def is_cut_off(error: BaseException) -> bool:
    """Whether all nodes hang up at once: some do that with whoever comes without TLS."""
    causes = list(error.errors.values()) if isinstance(error, NoHostAvailable) and error.errors else [error]
    return all(isinstance(cause, (ConnectionResetError, ConnectionShutdown)) for cause in causes)


def describe_error(error: BaseException) -> str:
    """An error in one line. The driver's errors carry no values of statements."""
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        host, cause = next(iter(error.errors.items()))
        return f"no host answers; {host}: {describe_error(cause) if isinstance(cause, BaseException) else cause}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
