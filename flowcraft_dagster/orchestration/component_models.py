"""What the component's YAML may say, by its parts."""

# No `from __future__ import annotations`: Dagster reads the types of fields when the class is made.
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import dagster as dg
from pydantic import Field, ValidationError

from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.orchestration.resources import (
    EmbeddedStoreResource,
    EnvironmentBackendResource,
    FlowcraftBackendResource,
)
from flowcraft_dagster.orchestration.server_resources import (
    CassandraStoreResource,
    KafkaBackendResource,
    KafkaJobQueueResource,
    RedisCoordinationResource,
)


class FlowcraftBackendModel(dg.Model, dg.Resolvable):
    """Where runs are kept."""

    kind: Literal["environment", "embedded", "kafka"] = Field(
        default="environment",
        description="environment: what FLOWCRAFT_BACKEND and its companions say; embedded: one SQLite file; kafka:"
        " Kafka, Cassandra and Redis. What is not given comes from the environment.",
    )
    home: str = Field(default="", description="Folder of the embedded backend; empty for that of the environment.")
    synchronous: Literal["FULL", "NORMAL"] = Field(default="FULL", description="FULL survives a loss of power.")
    queue: dict[str, Any] = Field(
        default={}, description="kafka: fields of KafkaJobQueueResource. A secret is given as {env: NAME}."
    )
    store: dict[str, Any] = Field(default={}, description="kafka: fields of CassandraStoreResource.")
    coordination: dict[str, Any] = Field(default={}, description="kafka: fields of RedisCoordinationResource.")

    def make_resource(self) -> FlowcraftBackendResource:
        """The resource that this describes.

        Raises:
            SettingsError: a field is unknown, or has a value that cannot be used.
        """
        if self.kind == "embedded":
            return EmbeddedStoreResource(home=self.home, synchronous=self.synchronous)
        if self.kind == "kafka":
            return KafkaBackendResource(
                queue=_make(KafkaJobQueueResource, "queue", self.queue),
                store=_make(CassandraStoreResource, "store", self.store),
                coordination=_make(RedisCoordinationResource, "coordination", self.coordination),
            )
        return EnvironmentBackendResource()


class FlowcraftAutomationModel(dg.Model, dg.Resolvable):
    """What the location does by itself; see :class:`FlowcraftAutomation`."""

    running: bool = Field(default=True, description="Whether status and request sensor and reconciliation run.")
    reacting: bool = Field(default=False, description="Whether completion and failure sensors run.")
    reconciliation_cron: str = Field(default="*/5 * * * *", description="When stalled runs are looked for.")
    stalled_after_seconds: float = Field(default=300.0, description="When a run counts as stalled.")
    reconciliation_fresh_seconds: float = Field(
        default=3600.0, description="Without a pass for so long its asset is no longer fresh; 0 for never."
    )
    status_interval_seconds: int = Field(default=15, description="Between two ticks of the status sensor.")
    request_interval_seconds: int = Field(default=15, description="Between two ticks of the request sensor.")


class FlowcraftTranslationModel(dg.Model, dg.Resolvable):
    """How the blueprints' assets are described."""

    key_prefix: list[str] = Field(default=[], description="Stands before the asset keys.")
    group_name: str = Field(default="", description="Group of all blueprints' assets.")
    owners: list[str] = Field(default=[], description="E-mail addresses or teams, added to those of the blueprint.")
    tags: dict[str, str] = Field(default={}, description="Tags of all blueprints' assets.")
    kinds: list[str] = Field(default=[], description="Kinds beside 'flowcraft'.")


class FlowcraftCheckModel(dg.Model, dg.Resolvable):
    """When asset checks fail; see :class:`CheckLimits`."""

    warn_failed_share: float = Field(default=0.0, description="Share of failed runs, 0 to 1, that is a warning.")
    error_failed_share: float = Field(default=0.5, description="The same, as an error.")
    window_seconds: float = Field(default=3600.0, description="Only runs that ended so recently are judged.")
    window_runs: int = Field(default=100, description="And only so many, the latest.")
    warn_stalled: int = Field(default=0, description="More runs that stood still are a warning.")
    error_stalled: int = Field(default=100, description="The same, as an error.")
    warn_workers: int = Field(default=1, description="Fewer living workers are a warning.")
    error_workers: int = Field(default=1, description="The same, as an error.")
    warn_lag: int = Field(default=10_000, description="More messages in the job queue are a warning.")
    error_lag: int = Field(default=100_000, description="The same, as an error.")
    warn_dead_letters: int = Field(default=0, description="More dead letters are a warning.")
    error_dead_letters: int = Field(default=100, description="The same, as an error.")
    warn_waiting_seconds: float = Field(
        default=86_400.0, description="A run that has waited longer for an answer is a warning."
    )
    error_waiting_seconds: float = Field(default=604_800.0, description="The same, as an error.")


RESOURCE = TypeVar("RESOURCE", KafkaJobQueueResource, CassandraStoreResource, RedisCoordinationResource)


def _make(kind: type[RESOURCE], name: str, given: Mapping[str, Any]) -> RESOURCE:
    unknown = sorted(set(given) - set(kind.model_fields))
    if unknown:
        known = ", ".join(kind.model_fields)
        raise SettingsError(f"has no field '{unknown[0]}'; there are {known}", name=f"backend.{name}")
    values: dict[str, Any] = {
        # As in the config of a run: the value is read where it is needed and stands in no definition.
        field: dg.EnvVar(value["env"]) if isinstance(value, Mapping) and set(value) == {"env"} else value
        for field, value in given.items()
    }
    try:
        return kind(**values)
    except ValidationError as error:
        (first, *_) = error.errors()
        raise SettingsError(first["msg"], name=f"backend.{name}.{first['loc'][0]}") from None
