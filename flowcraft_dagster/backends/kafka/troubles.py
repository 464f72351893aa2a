"""Telling a broker that is away from one that does not let us in.

librdkafka tells why it cannot connect to nobody but the callback for errors of the whole client; the request that
waits only runs out of time. So every client remembers what it heard last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from flowcraft_dagster.backends.access import advise_certificate, advise_credentials, advise_right, require_files
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import QueueAccessDenied, QueueUnavailable, SettingsError

T = TypeVar("T")

HELD_SECONDS = 60.0
"""librdkafka tells the same trouble again after 30 seconds at the latest."""

SILENCE = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
    }
)
"""Codes that say that nobody answered, and not why."""

_RIGHTS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_CREDENTIALS = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})

_FIELDS = (
    ("ssl.ca.location", "KAFKA_TLS_CA_FILE"),
    ("ssl.certificate.location", "KAFKA_TLS_CERT_FILE"),
    ("ssl.key.", "KAFKA_TLS_KEY_FILE"),
    ("sasl.oauthbearer", "KAFKA_OAUTH_TOKEN_URL"),
)


class Troubles:
    """The last reason for which a client could not connect.

    Args:
        settings: of the client.
        tell: gets every error, too; None for a client whose requests report their own.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        tell: Callable[[Any], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._last: tuple[float, Any] | None = None

    def note(self, error: Any) -> None:
        """Called by librdkafka as ``error_cb``, on any thread."""
        if advise(error, self._settings) is not None:
            self._last = (self._clock(), error)
        if self._tell is not None:
            self._tell(error)

    def forget(self) -> None:
        """The brokers have answered."""
        self._last = None

    def explain(self, queue: str, error: Any, silence: str) -> QueueUnavailable:
        """The error to raise for a request.

        Args:
            queue: what was asked for.
            error: librdkafka's; None when nothing came at all.
            silence: what to say when nobody answered.
        """
        is_silence = error is None or error.code() in SILENCE
        code = None if error is None else error.code()
        last = self._last
        if is_silence and last is not None and self._clock() - last[0] < HELD_SECONDS:
            error = last[1]
        advice = None if error is None else advise(error, self._settings)
        if advice is not None:
            return QueueAccessDenied(error.str().rstrip("."), queue=queue, code=code, advice=advice)
        return QueueUnavailable(silence if is_silence else error.str(), queue=queue, code=code)


def advise(error: Any, settings: KafkaSettings) -> str | None:
    """What to do about a user, password, certificate or right; None when the error is about something else."""
    if error.code() in _RIGHTS:
        return advise_right(settings.sasl_username or settings.oauth_client_id)
    if error.code() == KafkaError._SSL:
        return advise_certificate("KAFKA")
    if error.code() not in _CREDENTIALS:
        return None
    if settings.sasl_mechanism == "OAUTHBEARER":
        return "Check KAFKA_OAUTH_CLIENT_ID, KAFKA_OAUTH_CLIENT_SECRET and KAFKA_OAUTH_TOKEN_URL."
    return f"{advise_credentials('KAFKA_SASL')} KAFKA_SASL_MECHANISM must be the one that the user was made for."


def make_client(make: Callable[[], T], settings: KafkaSettings) -> T:
    """Make one of librdkafka's clients; it connects later.

    Raises:
        SettingsError: librdkafka refuses the options, or a certificate cannot be read.
    """
    require_files("KAFKA", settings)
    try:
        return make()
    except KafkaException as error:
        raise _refuse_options(error) from None


def _refuse_options(error: KafkaException) -> SettingsError:
    cause = error.args[0] if error.args else error
    text = cause.str() if isinstance(cause, KafkaError) else str(cause)
    name = next((variable for part, variable in _FIELDS if part in text), "KAFKA_OPTIONS")
    return SettingsError(text, name=name)
