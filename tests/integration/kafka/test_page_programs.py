"""The three programs of ``examples/kafka_cassandra``, as their README says to run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowcraft_dagster import (
    CassandraContext,
    Flow,
    Kafka,
    KafkaAdapter,
    RedisCoordinationStore,
    RunError,
    RunNotFound,
    create_kafka_reconciler,
    wait_for_workflow,
)
from flowcraft_dagster.errors import SchemaMismatch, SettingsError
from flowcraft_dagster.runtime.options import RuntimeOptions
from tests.integration.kafka.sample_app import nodes
from tests.integration.kafka.site import Site

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120

pytestmark = [pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.timeout(300)]

# The driver's own threads may be ending while the interpreter collects their sockets.
quiet_driver = pytest.mark.filterwarnings("ignore::ResourceWarning")


@contextmanager
def connect(site: Site) -> Iterator[tuple[KafkaAdapter, object]]:
    """An adapter around clients of the test's own."""
    from cassandra.cluster import Cluster
    from redis import Redis

    cluster = Cluster(site.stack["CASSANDRA_CONTACT_POINTS"].split(","), port=int(site.stack["CASSANDRA_PORT"]))
    flow = Flow("chain").node("a", "add", inputs="n").node("b", "add").edge("a", "b").build()
    try:
        with (
            Redis.from_url(site.stack["REDIS_URL"]) as redis,
            KafkaAdapter(
                kafka=Kafka(site.stack["KAFKA_BROKERS"].split(","), "test", {"session.timeout.ms": 6000}),
                cassandra_client=cluster.connect(),
                coordination_store=RedisCoordinationStore(redis),
                topic_name=f"{site.token}-jobs",
                group_id=f"{site.token}-group",
                keyspace=site.environment["CASSANDRA_KEYSPACE"],
                context_table_name="own_contexts",
                status_table_name="own_statuses",
                runtime_options={
                    "registry": nodes,
                    "blueprints": {"chain": flow},
                    "options": RuntimeOptions(drain_seconds=2.0),
                },
            ) as adapter,
        ):
            yield adapter, cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def programs(site: Site) -> dict[str, str]:
    names = {"KAFKA_TOPIC": f"{site.token}-jobs", "KAFKA_GROUP": f"{site.token}-group"}
    own = {"CASSANDRA_KEYSPACE": site.environment["CASSANDRA_KEYSPACE"], "CASSANDRA_DATACENTER": "datacenter1"}
    return {**os.environ, **site.stack, **names, **own, "PYTHONPATH": str(ROOT)}


def run(program: str, *arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.kafka_cassandra.{program}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_worker_client_and_reconciler_of_the_page_work_together(programs: dict[str, str]) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "examples.kafka_cassandra.worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=programs,
    )
    try:
        assert worker.stdout is not None
        assert any("Worker is running" in line for line in worker.stdout)
        shown = run("client", environment=programs)
        assert "COMPLETED." in shown
        assert "Post redacted." in shown
        assert "jane@example.com" not in shown
        shown = run("reconcile", "0.1", environment=programs)
        assert "Reconciliation complete. Stalled: 0, Resumed: 0, Failed: 0" in shown
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        worker.kill()
        worker.communicate()


@quiet_driver
def test_adapter_uses_ready_made_clients_and_leaves_them_open(site: Site) -> None:
    with connect(site) as (adapter, cluster):
        made = adapter.create_schema()
        keyspace = site.environment["CASSANDRA_KEYSPACE"]
        assert f"table {keyspace}.own_contexts" in made
        assert f"topic {site.token}-jobs" in made
        assert adapter.create_schema() == []
        run_id = adapter.client.start("chain", {"n": 1})
        early = wait_for_workflow(cluster, keyspace, "own_statuses", run_id, 50, context_table_name="own_contexts")
        assert early.status == "timeout"
        assert "running" in str(early.reason)
        stats = create_kafka_reconciler(adapter, cluster, keyspace, "own_statuses", 0.01).run()
        assert (stats.stalled_runs, stats.reconciled_runs, stats.failed_runs) == (1, 1, 0)
        adapter.start()
        adapter.start()
        outcome = wait_for_workflow(
            cluster, keyspace, "own_statuses", run_id, 60_000, context_table_name="own_contexts"
        )
        assert outcome.status == "completed"
        assert outcome.payload is not None
        assert outcome.payload.outputs == {"a": 2, "b": 3}
        with CassandraContext(run_id, cluster, keyspace, "own_contexts", status_table_name="own_statuses") as context:
            assert context.get("n") == 1
            assert context.get("_outputs.b") == 3
            assert context.has("n")
            assert not context.has("m")
            assert context.to_json()["_outputs.a"] == 2
            with pytest.raises(RunError, match="only the run's nodes write"):
                context.set("n", 2)
            with pytest.raises(RunError, match="cannot be removed"):
                context.delete("n")
        with (
            CassandraContext("nobody", cluster, keyspace, "own_contexts", status_table_name="own_statuses") as nobody,
            pytest.raises(RunNotFound),
        ):
            nobody.get("n")
        with pytest.raises(SettingsError, match="not the adapter's"):
            create_kafka_reconciler(adapter, keyspace="another")
        adapter.close()
        assert cluster.connect().execute("SELECT release_version FROM system.local").one()  # type: ignore[attr-defined]


@quiet_driver
def test_tables_of_the_page_are_recognised_and_left_alone(site: Site) -> None:
    with connect(site) as (adapter, cluster):
        session = cluster.connect()  # type: ignore[attr-defined]
        keyspace = site.environment["CASSANDRA_KEYSPACE"]
        session.execute(
            f"CREATE KEYSPACE {keyspace} WITH REPLICATION = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        )
        session.execute(f"CREATE TABLE {keyspace}.own_contexts (runId text PRIMARY KEY, data text)")
        for call in (adapter.create_schema, adapter.start):
            with pytest.raises(SchemaMismatch) as caught:
                call()
            assert f"{keyspace}.own_contexts" in str(caught.value)
            assert "runid" in str(caught.value)
            assert "Nothing was written" in caught.value.hint
        tables = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,))
        assert [row.table_name for row in tables] == ["own_contexts"]
