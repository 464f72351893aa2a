"""Where Kafka is and how it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from flowcraft_dagster.backends.names import OptionName, TopicName

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
OptionValue = str | int | float | bool

RESERVED_OPTIONS = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "partition.assignment.strategy",
        "partitioner",
        "transactional.id",
    }
)
"""Options that the promises rest on."""

LAST_PORT = 65_535
SECRET_PARTS = ("password", "secret", "private", ".pem", "assertion", "sasl.oauthbearer.config")
"""Options with such a part in their name hold a secret."""


class KafkaSettings(BaseModel):
    """Settings of the job queue. Secrets never show in ``repr`` or errors.

    Attributes:
        brokers: ``host:port`` of a few brokers.
        jobs_topic: node jobs and wakes.
        letters_topic: dead letters.
        requests_topic: requests to start runs.
        group_id: the workers' consumer group.
        client_id: how this program shows in the broker's logs and quotas.
        partitions: of the jobs and requests topics when they are made; the upper bound of worker processes.
        replication_factor: of topics when they are made; 3 in production.
        retention_hours: how long the topics keep messages when they are made, 7 days or more.
        security_protocol: ``SSL`` and ``SASL_SSL`` encrypt connections.
        tls_ca_file: certificates that are trusted, PEM; None trusts the system's.
        tls_cert_file, tls_key_file, tls_key_password: this client's certificate and key, PEM.
        tls_check_hostname: whether the certificate must name the host.
        sasl_mechanism: needed with the two SASL protocols.
        sasl_username, sasl_password: for PLAIN and SCRAM.
        oauth_token_url, oauth_client_id, oauth_client_secret, oauth_scope, oauth_extensions: for OAUTHBEARER by
            OpenID Connect client credentials; extensions as ``key=value,key=value`` (Confluent Cloud wants
            ``logicalCluster=...,identityPoolId=...``).
        session_seconds: after this without a heartbeat a worker's partitions go to others.
        max_poll_seconds: after this without a poll they do too; polling never waits for nodes.
        revoke_seconds: how long a worker may finish what is in flight before it gives up partitions.
        commit_seconds: how often offsets are stored.
        delivery_seconds: how long a message is tried before QueueUnavailable.
        request_seconds: for one administrative request.
        linger_ms: how long the producer gathers messages into a batch.
        static_membership: whether a worker keeps its place in the group across a restart; then partitions of one
            that was shut down move only after ``session_seconds``.
        buffer_messages: how many fetched messages may wait in the process.
        options: any further librdkafka option, by name.
        secret_options: further options whose values are secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    brokers: tuple[str, ...] = ("127.0.0.1:9092",)
    jobs_topic: TopicName = "flowcraft-jobs"
    letters_topic: TopicName = "flowcraft-jobs.dlq"
    requests_topic: TopicName = "flowcraft-run-requests"
    group_id: TopicName = "flowcraft-worker-group"
    client_id: TopicName = "flowcraft"
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 12
    replication_factor: Annotated[int, Field(ge=1, le=32)] = 1
    retention_hours: Annotated[int, Field(ge=168)] = 168
    security_protocol: SecurityProtocol = "PLAINTEXT"
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: SecretStr | None = None
    tls_check_hostname: bool = True
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    oauth_token_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_scope: str | None = None
    oauth_extensions: str | None = None
    session_seconds: Annotated[float, Field(ge=1, le=1800)] = 10.0
    max_poll_seconds: Annotated[float, Field(ge=2, le=86_400)] = 300.0
    revoke_seconds: Annotated[float, Field(ge=0)] = 20.0
    commit_seconds: Annotated[float, Field(gt=0)] = 1.0
    delivery_seconds: Annotated[float, Field(ge=1)] = 30.0
    request_seconds: Annotated[float, Field(gt=0)] = 10.0
    linger_ms: Annotated[float, Field(ge=0, le=900)] = 1.0
    static_membership: bool = True
    buffer_messages: Annotated[int, Field(ge=1)] = 2000
    options: dict[OptionName, OptionValue] = Field(default_factory=dict)
    secret_options: dict[OptionName, SecretStr] = Field(default_factory=dict)

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one broker")
        for broker in value:
            _, colon, port = broker.rpartition(":")
            if not colon or not (port.isascii() and port.isdigit()) or "," in broker:
                raise ValueError(f"'{broker}' is not host:port")
            if not 0 < int(port) <= LAST_PORT:
                raise ValueError(f"'{broker}' has no port from 1 to {LAST_PORT}")
        return value

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: dict[str, OptionValue]) -> dict[str, OptionValue]:
        for name in value:
            if any(part in name for part in SECRET_PARTS):
                raise ValueError(f"'{name}' holds a secret: give it in secret_options")
        return _refuse_reserved(value)

    @field_validator("secret_options")
    @classmethod
    def _check_secret_options(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return _refuse_reserved(value)

    @model_validator(mode="after")
    def _check_together(self) -> KafkaSettings:
        topics = (self.jobs_topic, self.letters_topic, self.requests_topic)
        if len(set(topics)) < len(topics):
            raise ValueError("the three topics need different names")
        if self.revoke_seconds >= self.max_poll_seconds:
            raise ValueError("revoke_seconds must be less than max_poll_seconds")
        if self.session_seconds > self.max_poll_seconds:
            raise ValueError("session_seconds must not be more than max_poll_seconds")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        self._check_sasl()
        return self

    def _check_sasl(self) -> None:
        uses_sasl = self.security_protocol.startswith("SASL_")
        if uses_sasl != (self.sasl_mechanism is not None):
            raise ValueError("sasl_mechanism goes with SASL_PLAINTEXT or SASL_SSL, and these need it")
        if self.sasl_mechanism == "OAUTHBEARER":
            if not (self.oauth_token_url and self.oauth_client_id and self.oauth_client_secret):
                raise ValueError("OAUTHBEARER needs oauth_token_url, oauth_client_id and oauth_client_secret")
        elif uses_sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"{self.sasl_mechanism} needs sasl_username and sasl_password")

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    def describe(self) -> str:
        """Where the queue is, in a few words without secrets."""
        return ",".join(self.brokers)

    def as_librdkafka(self) -> dict[str, Any]:
        """Options that every client needs. Holds secrets in the clear: never log it.

        Example:
            >>> KafkaSettings(brokers=("kafka:29092",)).as_librdkafka()["bootstrap.servers"]
            'kafka:29092'
        """
        config: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.brokers),
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            "log_level": 4,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "socket.keepalive.enable": True,
            # A minute by default: so long a worker would read nothing when a broker has gone without a word.
            "socket.timeout.ms": 30_000,
            # Five minutes by default: so long nobody would read what other programs send to partitions that were added.
            "topic.metadata.refresh.interval.ms": 30_000,
        }
        if self.is_encrypted:
            config["ssl.endpoint.identification.algorithm"] = "https" if self.tls_check_hostname else "none"
        _add(config, "ssl.ca.location", self.tls_ca_file)
        _add(config, "ssl.certificate.location", self.tls_cert_file)
        _add(config, "ssl.key.location", self.tls_key_file)
        _add(config, "ssl.key.password", self.tls_key_password)
        _add(config, "sasl.mechanism", self.sasl_mechanism)
        if self.sasl_mechanism == "OAUTHBEARER":
            config["sasl.oauthbearer.method"] = "oidc"
            _add(config, "sasl.oauthbearer.token.endpoint.url", self.oauth_token_url)
            _add(config, "sasl.oauthbearer.client.id", self.oauth_client_id)
            _add(config, "sasl.oauthbearer.client.secret", self.oauth_client_secret)
            _add(config, "sasl.oauthbearer.scope", self.oauth_scope)
            _add(config, "sasl.oauthbearer.extensions", self.oauth_extensions)
        elif self.sasl_mechanism is not None:
            _add(config, "sasl.username", self.sasl_username)
            _add(config, "sasl.password", self.sasl_password)
        return config

    def as_producer(self) -> dict[str, Any]:
        """Options of the producer: idempotent, and sure of every message."""
        return {
            **self.as_librdkafka(),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": int(self.delivery_seconds * 1000),
            "linger.ms": self.linger_ms,
            "compression.type": "lz4",
            # What Java and JavaScript clients use by default: all of them put a run into the same partition.
            "partitioner": "murmur2_random",
            **self._extras("consumer"),
        }

    def as_consumer(self, slot: str) -> dict[str, Any]:
        """Options of a worker's consumer.

        Args:
            slot: stable name of the place that the worker fills.
        """
        config: dict[str, Any] = {
            **self.as_librdkafka(),
            "group.id": self.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "max.poll.interval.ms": int(self.max_poll_seconds * 1000),
            # Little is fetched ahead: messages are small, and pausing throws away what is.
            "queued.min.messages": 1000,
            "queued.max.messages.kbytes": 8192,
            "fetch.queue.backoff.ms": 50,
        }
        if self.static_membership:
            config["group.instance.id"] = f"{self.group_id}-{slot}"
        if self.options.get("group.protocol") != "consumer":
            config["partition.assignment.strategy"] = "cooperative-sticky"
            config["session.timeout.ms"] = int(self.session_seconds * 1000)
            # Members learn of a rebalance by their heartbeats, and it takes two rounds until a new one has its share.
            config["heartbeat.interval.ms"] = min(1000, max(200, int(self.session_seconds * 1000 / 3.5)))
        return {**config, **self._extras("producer")}

    def as_reader(self) -> dict[str, Any]:
        """Options of a consumer that reads by explicit offsets and joins no group.

        It is silent, as the administrative client: every piece that cannot be read reports its own error.
        """
        return {
            **self.as_librdkafka(),
            "log_level": 0,
            # The broker answers one question after the other, and the last one of a piece often finds nothing: the
            # next piece would wait for the half second that this may take.
            "fetch.wait.max.ms": 20,
            "group.id": f"{self.group_id}-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # What is gone must be noticed, not skipped.
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            **{name: value for name, value in self._extras("producer").items() if not name.startswith("group.")},
        }

    def as_admin(self) -> dict[str, Any]:
        """Options of the administrative client. It is silent: every request reports its own error."""
        return {**self.as_librdkafka(), "log_level": 0, **self._extras("producer", "consumer")}

    def _extras(self, *foreign: str) -> dict[str, Any]:
        """Further options, less those that only other kinds of clients know."""
        given: dict[str, Any] = {**self.options}
        given.update({name: value.get_secret_value() for name, value in self.secret_options.items()})
        unknown = {name for kind in foreign for name in _ONLY[kind]}
        return {name: value for name, value in given.items() if name not in unknown}


_ONLY: dict[str, frozenset[str]] = {
    "producer": frozenset(
        {
            "batch.num.messages",
            "batch.size",
            "compression.codec",
            "compression.level",
            "compression.type",
            "delivery.timeout.ms",
            "linger.ms",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "message.send.max.retries",
            "message.timeout.ms",
            "queue.buffering.backpressure.threshold",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "queue.buffering.max.ms",
            "request.timeout.ms",
            "retries",
            "retry.backoff.max.ms",
            "retry.backoff.ms",
            "sticky.partitioning.linger.ms",
        }
    ),
    "consumer": frozenset(
        {
            "check.crcs",
            "coordinator.query.interval.ms",
            "fetch.error.backoff.ms",
            "fetch.max.bytes",
            "fetch.message.max.bytes",
            "fetch.min.bytes",
            "fetch.queue.backoff.ms",
            "fetch.wait.max.ms",
            "group.protocol",
            "group.remote.assignor",
            "heartbeat.interval.ms",
            "isolation.level",
            "max.partition.fetch.bytes",
            "max.poll.interval.ms",
            "queued.max.messages.kbytes",
            "queued.min.messages",
            "session.timeout.ms",
        }
    ),
}
"""Options that librdkafka knows for one kind of client only; it warns when another gets them."""


def _add(config: dict[str, Any], name: str, value: object) -> None:
    if isinstance(value, SecretStr):
        config[name] = value.get_secret_value()
    elif value is not None:
        config[name] = str(value)


def _refuse_reserved(value: dict[str, Any]) -> dict[str, Any]:
    reserved = sorted(RESERVED_OPTIONS & value.keys())
    if reserved:
        raise ValueError(f"'{reserved[0]}' cannot be changed: nothing would be safe without it")
    return value
