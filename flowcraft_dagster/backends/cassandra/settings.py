"""Where Cassandra is and how it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from flowcraft_dagster.backends.names import CqlName

Consistency = Literal["ONE", "LOCAL_ONE", "TWO", "THREE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "ALL"]
SerialConsistency = Literal["SERIAL", "LOCAL_SERIAL"]


class CassandraTables(BaseModel):
    """Table names within the keyspace.

    Attributes:
        contexts: a partition per run: its head, initial context, facts and signals.
        statuses: a row per run: the projection that people and waiting clients read.
        live_runs: runs that have not ended, by time of start.
        finished_runs: ended runs, by time of end.
        buckets: which pieces of the two listings above and of the timers exist.
        timers: moments at which runs are to be woken.
        blueprints: blueprint documents by content hash.
        deaths: which activation killed its process, and when.
        workers: heartbeats of worker processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contexts: CqlName = "contexts"
    statuses: CqlName = "statuses"
    live_runs: CqlName = "live_runs"
    finished_runs: CqlName = "finished_runs"
    buckets: CqlName = "buckets"
    timers: CqlName = "timers"
    blueprints: CqlName = "blueprints"
    deaths: CqlName = "deaths"
    workers: CqlName = "workers"

    @model_validator(mode="after")
    def _refuse_twins(self) -> CassandraTables:
        names = list(self.model_dump().values())
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins:
            raise ValueError(f"two tables are named '{twins[0]}'")
        return self


class ExternalTables(BaseModel):
    """Tables that other programs write to start runs, in the layout of Flowcraft's documents; only read.

    Attributes:
        contexts: ``runId text PRIMARY KEY, data text``.
        statuses: ``runId text PRIMARY KEY, status text, ...``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contexts: CqlName = "contexts"
    statuses: CqlName = "statuses"


class CassandraSettings(BaseModel):
    """Settings of the state store. Secrets never show in ``repr`` or errors.

    Attributes:
        contact_points: host names or addresses of a few nodes; not used with ``secure_connect_bundle``.
        port: native protocol port.
        datacenter: the local data centre; None takes that of the first contact point.
        keyspace: where the tables are.
        tables: their names.
        username, password: for password authentication. For Astra: ``token`` and the token itself.
        tls: encrypt connections; always on with a bundle.
        tls_ca_file: certificates that are trusted, PEM; None trusts the system's.
        tls_cert_file, tls_key_file: this client's certificate and key, PEM, where the server asks for them.
        tls_check_hostname: whether a node's certificate must name its address; the driver compares IP addresses,
            so certificates with host names alone need False.
        secure_connect_bundle: the ZIP file from DataStax Astra.
        consistency: of plain reads and writes and of the commit of conditional ones.
        serial_consistency: of conditional writes.
        replication: what ``create_schema`` makes the keyspace with, when it is missing: replicas by data centre,
            or ``{"*": N}`` for a cluster without data centres. None never makes a keyspace (Astra).
        connect_seconds: for opening a connection.
        request_seconds: for one request.
        give_up_seconds: how long a request is repeated before StoreUnavailable.
        protocol_version: of the native protocol. 4 is what Cassandra 3 to 5 and Astra speak; 5 adds checksums to every
            message, which the driver computes in Python: a quarter more processor time for each request.
        max_in_flight: requests that may be under way at a time; others wait in the process.
        max_context_bytes: size of a run's initial context.
        max_value_bytes: size of any other single value.
        max_commit_bytes: size of all rows of one commit; stay well below half the server's commit log segment.
        finished_ttl_seconds: for how long the status and listing rows of an ended run are kept; None for ever. The
            run itself goes with ``delete_run``.
        worker_ttl_seconds: for how long records of workers and deaths are kept.
        external_keyspace: where the tables of ``accept_external_starts`` are; None for ``keyspace``.
        external_tables: their names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    contact_points: tuple[str, ...] = ("127.0.0.1",)
    port: Annotated[int, Field(ge=1, le=65535)] = 9042
    datacenter: str | None = None
    keyspace: CqlName = "flowcraft_ks"
    tables: CassandraTables = CassandraTables()
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_check_hostname: bool = True
    secure_connect_bundle: Path | None = None
    consistency: Consistency = "LOCAL_QUORUM"
    serial_consistency: SerialConsistency = "LOCAL_SERIAL"
    replication: dict[str, int] | None = Field(default_factory=lambda: {"*": 1})
    connect_seconds: Annotated[float, Field(gt=0)] = 10.0
    request_seconds: Annotated[float, Field(gt=0)] = 5.0
    give_up_seconds: Annotated[float, Field(gt=0)] = 10.0
    protocol_version: Literal[4, 5] = 4
    max_in_flight: Annotated[int, Field(ge=1, le=2048)] = 128
    max_context_bytes: Annotated[int, Field(ge=1)] = 4 * 1024 * 1024
    max_value_bytes: Annotated[int, Field(ge=1)] = 1024 * 1024
    max_commit_bytes: Annotated[int, Field(ge=1)] = 8 * 1024 * 1024
    finished_ttl_seconds: Annotated[int, Field(ge=1)] | None = None
    worker_ttl_seconds: Annotated[int, Field(ge=60)] = 7 * 86_400
    external_keyspace: CqlName | None = None
    external_tables: ExternalTables = ExternalTables()

    @field_validator("replication")
    @classmethod
    def _check_replication(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        if value is None:
            return None
        if not value or any(count < 1 for count in value.values()):
            raise ValueError("name at least one data centre with at least one replica")
        if "*" in value and len(value) > 1:
            raise ValueError("'*' stands alone")
        for name in value:
            if name != "*" and not all(letter.isalnum() or letter in "-_." for letter in name):
                raise ValueError("data centres are named with letters, digits, hyphens, underscores and dots")
        return value

    @model_validator(mode="after")
    def _check_pairs(self) -> CassandraSettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        if self.secure_connect_bundle is not None and self.username is None:
            raise ValueError("a secure connect bundle needs username 'token' and the token as password")
        if self.secure_connect_bundle is None and not self.contact_points:
            raise ValueError("name at least one contact point")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls or self.secure_connect_bundle is not None

    def describe(self) -> str:
        """Where the store is, in a few words without secrets."""
        if self.secure_connect_bundle is not None:
            return f"bundle {self.secure_connect_bundle.name}, keyspace {self.keyspace}"
        return f"{','.join(self.contact_points)}:{self.port}, keyspace {self.keyspace}"
