"""The rights of the production guide are enough for everybody, over TLS and with passwords everywhere."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from flowcraft_dagster import (
    CassandraStoreResource,
    KafkaBackendResource,
    KafkaJobQueueResource,
    RedisCoordinationResource,
    build_flowcraft_definitions,
)
from flowcraft_dagster.orchestration.connection import close_connections
from flowcraft_dagster.orchestration.resource_set import build_flowcraft_resources
from flowcraft_dagster.ports.records import Message
from tests.integration.kafka.sample_app import TARGET
from tests.integration.secured.conftest import Prepared
from tests.integration.secured.site import CLIENT, INIT, OPERATOR, READER, Site

PATIENCE = 120.0
SENSOR = "flowcraft_run_request_sensor"
JOB = "start_requested_flowcraft_runs"


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def name_run() -> str:
    return f"run-{uuid.uuid4().hex[:10]}"


def test_init_makes_all_tables_and_topics(prepared: Prepared) -> None:
    assert prepared.init.returncode == 0, prepared.init.stderr
    made = prepared.init.stdout.splitlines()
    assert [line.split()[1] for line in made] == ["table"] * 9 + ["topic"] * 3
    again = prepared.site.command(INIT, "init")
    assert (again.returncode, again.stdout) == (0, "everything is there already\n")


def test_a_client_starts_waits_answers_cancels_and_requests(site: Site, worker: Path) -> None:
    with site.client(CLIENT) as client:
        chain = client.start("chain", {}, run_id=name_run())
        asks = client.start("asks", {}, run_id=name_run())
        held = client.start("gated", {}, run_id=name_run())
        assert client.wait(chain, PATIENCE).outputs["c"] == 3
        client.wait_for_pause(asks, PATIENCE)
        client.resume(asks, "ask", output={"approved": True})
        assert client.wait(asks, PATIENCE).status == "completed"
        client.cancel(held)
        assert client.wait(held, PATIENCE).status == "cancelled"
        client.request("chain", {}, run_id=name_run())
        operations = client.asynchronous.backend.coordination.operations  # type: ignore[attr-defined]
        assert not operations["failures"]


def test_whoever_only_looks_needs_no_kafka(site: Site, worker: Path) -> None:
    with site.client(CLIENT) as client:
        run_id = client.start("chain", {}, run_id=name_run())
        client.wait(run_id, PATIENCE)
    # Nothing listens there.
    nowhere = {"KAFKA_BROKERS": "127.0.0.1:1", "REDIS_URL": "rediss://127.0.0.1:1/0"}
    status = site.command(READER, "status", run_id, "--json", **nowhere)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["status"] == "completed"
    runs = site.command(READER, "runs", "--json", **nowhere)
    assert runs.returncode == 0, runs.stderr
    assert run_id in runs.stdout


def test_an_operator_finds_all_well_and_handles_dead_letters(site: Site, worker: Path) -> None:
    with site.client(CLIENT) as client:
        client.call(client.asynchronous.backend.jobs.send([Message("nobody", b"no message of ours")]))
    with site.client(OPERATOR) as operator:

        def is_buried() -> bool:
            return bool(operator.call(operator.asynchronous.backend.dead_letters.list_letters(1)))

        wait_until("the worker buries what it cannot read", is_buried)
        listed = site.command(OPERATOR, "dead-letters", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        replayed = site.command(OPERATOR, "dead-letters", "replay", json.loads(listed.stdout)[0]["letterId"])
        assert replayed.returncode == 0, replayed.stderr
        wait_until("it is buried again", is_buried)
    dropped = site.command(OPERATOR, "dead-letters", "drop", "--all")
    assert dropped.returncode == 0, dropped.stderr
    reconciled = site.command(OPERATOR, "reconcile", "--all", "--json")
    assert reconciled.returncode == 0, reconciled.stderr
    doctor = site.command(OPERATOR, "doctor", "--json")
    checks = json.loads(doctor.stdout)["checks"]
    assert [check["name"] for check in checks if not check["ok"]] == []
    assert doctor.returncode == 0


def test_dagster_starts_requested_runs_with_the_operators_rights(
    site: Site, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site.variables(OPERATOR).items():
        monkeypatch.setenv(name, value)
    backend = KafkaBackendResource(
        queue=KafkaJobQueueResource(), store=CassandraStoreResource(), coordination=RedisCoordinationResource()
    )
    definitions = build_flowcraft_definitions(TARGET, backend=backend)
    with site.client(CLIENT) as client:
        run_id = client.request("chain", {}, run_id=name_run())
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                resources = build_flowcraft_resources(TARGET, backend)
                # A tick waits a moment only, and a first connection with all its handshakes may take longer.
                connection = resources["flowcraft"].connect()
                connection.call(connection.backend.requests.find_ranges({}, None, 1))
                sensor = definitions.get_repository_def().get_sensor_def(SENSOR)
                with dg.build_sensor_context(instance, resources=resources, definitions=definitions) as context:
                    (request,) = sensor.evaluate_tick(context).run_requests or ()
                job = definitions.resolve_job_def(JOB)
                launched = job.execute_in_process(
                    instance=instance, run_config=dict(request.run_config), tags=request.tags
                )
            assert run_id in launched.output_for_node(f"{JOB}_op")
        finally:
            close_connections()
        assert client.wait(run_id, PATIENCE).outputs["c"] == 3

