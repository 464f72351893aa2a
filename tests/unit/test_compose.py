"""docker-compose.yml against the Compose rules, without an engine.

``compose-spec`` is a strict parser of the Compose specification: it knows every key, duration, port and
image name. The tests here add what it does not look at: names that must exist, and what users were promised.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from stack_servers.compose import COMPOSE_FILE, override_text

SERVICES = {"kafka": 9092, "cassandra": 9042, "redis": 6379}
PAGE_LISTENERS = "PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:9092"


class _ComposeLoader(yaml.SafeLoader):
    """Reads the ``!override`` tag, which only Compose knows."""


def _read_override(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node)


_ComposeLoader.add_constructor("!override", _read_override)


@pytest.fixture(scope="module")
def text() -> str:
    return COMPOSE_FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def test_the_file_follows_the_compose_specification(text: str) -> None:
    parsed = PyCompose.from_yaml(text)
    parsed.validate()
    assert set(parsed.to_spec().services or {}) == set(SERVICES)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("healthcheck:", "healthchecks:"),
        ("interval: 15s", "interval: 15 moments"),
        ("127.0.0.1:9092:9092", "127.0.0.1:9092:kafka"),
        ("apache/kafka:3.9.1", "Apache Kafka"),
        ('["CMD", "redis-cli", "ping"]', '["RUN", "redis-cli", "ping"]'),
    ],
)
def test_a_broken_file_is_noticed(text: str, right: str, wrong: str) -> None:
    assert right in text
    with pytest.raises(ValueError, match="services"):
        PyCompose.from_yaml(text.replace(right, wrong, 1))


def test_ports_are_the_usual_ones_and_bound_to_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items()}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in SERVICES.items()}


def test_host_names_are_the_service_names(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service["hostname"] for name, service in services.items()} == {name: name for name in SERVICES}


def test_every_service_has_a_health_check_and_keeps_its_data_in_a_volume_of_its_own(
    text: str, services: dict[str, dict[str, Any]]
) -> None:
    declared = set(yaml.safe_load(text)["volumes"])
    used = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]
    assert sorted(used) == sorted(declared)
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


def test_what_a_service_depends_on_exists_and_is_waited_for(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            assert condition == {"condition": "service_healthy"}


def test_images_are_pinned_and_there_is_no_zookeeper(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        _, _, tag = service["image"].partition(":")
        assert tag[:1].isdigit()
    kafka = services["kafka"]["environment"]
    assert not any("ZOOKEEPER" in name for name in (*kafka, *(name.upper() for name in services)))
    assert kafka["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert len(kafka["CLUSTER_ID"]) == 22


def test_kafka_listens_where_it_says(services: dict[str, dict[str, Any]]) -> None:
    kafka = services["kafka"]["environment"]
    protocols = dict(entry.split(":") for entry in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    listeners = {entry.split("://")[0]: entry.rsplit(":", 1)[1] for entry in kafka["KAFKA_LISTENERS"].split(",")}
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == PAGE_LISTENERS
    assert set(listeners) == set(protocols)
    assert listeners == {"PLAINTEXT": "29092", "PLAINTEXT_HOST": "9092", "CONTROLLER": "29093"}
    assert kafka["KAFKA_INTER_BROKER_LISTENER_NAME"] in listeners
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka:{listeners['CONTROLLER']}"


def test_cassandra_has_the_names_that_clients_expect(services: dict[str, dict[str, Any]]) -> None:
    cassandra = services["cassandra"]["environment"]
    assert cassandra["CASSANDRA_CLUSTER_NAME"] == "flowcraft-cluster"
    assert cassandra["CASSANDRA_DC"] == "datacenter1"
    assert cassandra["CASSANDRA_ENDPOINT_SNITCH"] == "GossipingPropertyFileSnitch"


def test_another_port_changes_what_is_published_and_what_kafka_tells_its_clients(
    services: dict[str, dict[str, Any]],
) -> None:
    loader = _ComposeLoader(override_text({"kafka": 20001, "cassandra": 20002, "redis": 20003}))
    override = loader.get_data()
    assert {name: service["ports"] for name, service in override["services"].items()} == {
        "kafka": ["127.0.0.1:20001:9092"],
        "cassandra": ["127.0.0.1:20002:9042"],
        "redis": ["127.0.0.1:20003:6379"],
    }
    moved = override["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert moved == services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].replace(":9092", ":20001")


def test_the_compose_file_lies_at_the_top_of_the_project() -> None:
    assert Path(__file__).resolve().parents[2] / "docker-compose.yml" == COMPOSE_FILE
