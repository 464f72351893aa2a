"""Everything that a person meets in the UI says what it is, in a form that the UI shows well."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster import (
    CassandraStoreResource,
    CheckLimits,
    KafkaBackendResource,
    KafkaJobQueueResource,
    RedisCoordinationResource,
)
from flowcraft_dagster.orchestration.blueprint_assets import BlueprintRunConfig
from flowcraft_dagster.orchestration.definitions import build_flowcraft_definitions
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.orchestration.runtime_checks import list_runtime_checks
from flowcraft_dagster.orchestration.start_job import StartFlowcraftRunsConfig
from tests.dagster.conftest import SAMPLE_APP


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_flowcraft_definitions("examples.moderation:app", node_assets=True)


def test_every_asset_and_check_has_a_description(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    keys, checks = graph.get_all_asset_keys(), graph.asset_check_keys

    assert keys
    assert checks
    assert [key for key in keys if not graph.get(key).description] == []
    assert [key for key in checks if not graph.get_check_spec(key).description] == []


def test_every_job_sensor_and_schedule_has_a_description(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    items: list[Any] = [*jobs, *repository.sensor_defs, *repository.schedule_defs]
    named = {item.name: item.description for item in items}

    assert len(named) > 10
    assert [name for name, text in named.items() if not text] == []


def test_the_catalogue_shows_the_beginning_as_plain_text(definitions: dg.Definitions) -> None:
    spec = definitions.resolve_asset_graph().get(dg.AssetKey(["flowcraft", "content-moderation"]))

    assert str(spec.description).startswith("Content moderation. Checks a post for personal data")


def test_resources_are_described_without_programs() -> None:
    # The Launchpad shows the text beside the config, on one line and without markup.
    parts = [KafkaJobQueueResource(), CassandraStoreResource(), RedisCoordinationResource()]
    backend = KafkaBackendResource(queue=parts[0], store=parts[1], coordination=parts[2])
    for resource in (*build_flowcraft_resources(SAMPLE_APP).values(), *parts, backend):
        text = type(resource).__doc__
        assert text
        assert ">>>" not in text


def test_checks_say_when_they_fail() -> None:
    limits = CheckLimits(warn_lag=500, error_lag=5_000_000, warn_waiting_seconds=43_200.0)
    about = {spec.name: spec.description for spec in list_runtime_checks(limits)}

    assert about["queue_is_short"] == (
        "Few messages wait for a worker. A warning with more than 500, an error with more than 5,000,000."
    )
    assert about["nobody_waits_long"] == (
        "No run waits long for an answer. A warning after 0.5 days, an error after 7 days."
    )


@pytest.mark.parametrize("config", [StartFlowcraftRunsConfig, BlueprintRunConfig])
def test_who_types_a_context_is_told_that_it_is_stored(config: type[dg.Config]) -> None:
    fields = config.to_fields_dict()

    assert "It is stored as it is: name secrets, never give them." in str(fields["context"].description)
    assert [name for name, given in fields.items() if not given.description] == []
