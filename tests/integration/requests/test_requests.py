"""Requests become finished workflows and materialised assets, once each; with real processes, which are killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.runtime.requests import CHUNK
from flowcraft_dagster.testing.environment import make_token, separate_environment
from tests.contract.real_servers import eventually
from tests.integration.kafka.conftest import drop_keyspace
from tests.integration.requests.site import ROOT, RequestSite

EACH = 1000
"""Requests before and after the trouble in the middle."""

# Dagster is started twice; each start takes a minute and more on a busy machine.
pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[RequestSite]:
    site = RequestSite(tmp_path, separate_environment("embedded", tmp_path, make_token()))
    yield site
    site.close()


@pytest.fixture
def servers(tmp_path: Path, stack: dict[str, str]) -> Iterator[RequestSite]:
    own = {**stack, **separate_environment("kafka", tmp_path, make_token()), "KAFKA_PARTITIONS": "4"}
    site = RequestSite(tmp_path, own)
    site.client.call(site.client.asynchronous.backend.create_schema())
    yield site
    site.close()
    asyncio.run(drop_keyspace(own))


def send_by_hand(site: RequestSite, numbers: range) -> None:
    """As any program does: JSON without a run id."""
    values = [json.dumps({"blueprintId": 400, "context": {"n": n}}).encode() for n in numbers]
    site.client.call(site.client.asynchronous.backend.requests.send_requests(values))


def send_by_command(site: RequestSite, numbers: range) -> list[str]:
    """As a person does; returns the run ids."""
    done = subprocess.run(
        [sys.executable, "-m", "flowcraft_dagster.cli", "request", "400", "--contexts-file", "-"],
        input="".join(f'{{"n": {n}}}\n' for n in numbers),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=site.environment,
        timeout=120,
    )
    return done.stdout.split()


def kill_in_the_middle(site: RequestSite) -> int:
    """Kill Dagster once a launch has started some of its runs; returns how many there are then."""
    site.kill_dagster(lambda: len(site.list_runs(CHUNK)) == CHUNK, "the first requested runs")
    return len(site.list_runs())


def require_each_once(site: RequestSite, count: int) -> None:
    """Every request has one run, which has completed with its own context, and is shown once on the asset."""
    site.await_true(
        lambda: [header.status for header in site.list_runs()] == ["completed"] * count, f"{count} completed runs"
    )
    run_ids = [header.run_id for header in site.list_runs()]
    assert len(set(run_ids)) == count
    outputs = Counter(site.client.result(run_id).outputs["step2"] for run_id in run_ids)
    assert outputs == Counter({4 * n: 1 for n in range(count)})
    site.await_true(lambda: site.count_shown() >= count, f"{count} runs on their asset")
    assert site.count_shown() == count


def report(site: RequestSite, began: float, killed_at: int) -> None:
    launches = Counter(run.status.value for run in site.list_launches())
    print(  # noqa: T201 - figures for whoever reads the log
        f"{site.settings.backend}: {len(site.list_runs())} runs, {site.count_shown()} shown, killed at {killed_at},"
        f" launches {dict(launches)}, {time.monotonic() - began:.0f} s"
    )


def test_requests_in_the_table_become_runs_and_assets_once_each(embedded: RequestSite) -> None:
    began = time.monotonic()
    embedded.start_worker()
    embedded.start_dagster()
    send_by_hand(embedded, range(EACH))
    killed_at = kill_in_the_middle(embedded)
    # Sent while Dagster is away.
    sent = send_by_command(embedded, range(EACH, 2 * EACH))
    embedded.start_dagster()

    require_each_once(embedded, 2 * EACH)
    assert set(sent) < {header.run_id for header in embedded.list_runs()}
    report(embedded, began, killed_at)


@pytest.mark.kafka
@pytest.mark.cassandra
@pytest.mark.redis
def test_requests_in_the_topic_become_runs_and_assets_once_each(servers: RequestSite) -> None:
    began = time.monotonic()
    servers.start_worker()
    servers.start_dagster()
    send_by_hand(servers, range(EACH))
    killed_at = kill_in_the_middle(servers)
    servers.start_dagster()
    servers.await_true(lambda: len(servers.list_runs()) == EACH, f"{EACH} started runs")

    asyncio.run(make_topic_anew(servers))
    sent = send_by_command(servers, range(EACH, 2 * EACH))

    require_each_once(servers, 2 * EACH)
    assert set(sent) < {header.run_id for header in servers.list_runs()}
    # The first thousand were named by their places.
    assert sum(header.run_id.startswith("request-") for header in servers.list_runs()) == EACH
    report(servers, began, killed_at)


async def make_topic_anew(site: RequestSite) -> None:
    settings = read_settings(KafkaSettings, "KAFKA", site.environment)
    admin = KafkaAdmin(settings)
    await admin.delete_topic(settings.requests_topic)

    async def is_gone() -> bool:
        return await admin.describe_topic(settings.requests_topic) is None

    await eventually(is_gone)
    await admin.create_topics()
    await admin.close()
