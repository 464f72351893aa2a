"""One set of servers for all of these tests, set up as the production guide says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dagster.conftest import DAGSTER_WARNINGS
from tests.integration.secured.administrator import (
    KafkaAdministrator,
    read_cassandra_rights,
    read_kafka_rights,
    run_cql,
)
from tests.integration.secured.servers import run_servers
from tests.integration.secured.site import INIT, WORKER, Site

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for mark in (pytest.mark.kafka, pytest.mark.cassandra, pytest.mark.redis, pytest.mark.timeout(600)):
                item.add_marker(mark)
            for warning in DAGSTER_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@dataclass(frozen=True)
class Prepared:
    """A site, and what ``init`` said when it made topics and tables."""

    site: Site
    init: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    folder = tmp_path_factory.mktemp("secured")
    with run_servers(folder) as servers:
        administrator = KafkaAdministrator(servers)
        administrator.create_users()
        rights = read_kafka_rights(folder)
        administrator.grant(rights)
        run_cql(servers, read_cassandra_rights())
        app = folder / "app"
        app.mkdir()
        site = Site(servers, administrator, rights, app)
        yield Prepared(site, site.command(INIT, "init"))


@pytest.fixture(scope="session")
def site(prepared: Prepared) -> Site:
    """Topics and tables are there."""
    assert prepared.init.returncode == 0, prepared.init.stderr
    return prepared.site


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[Path]:
    """A worker process; the file with its output."""
    log = site.folder / "worker.log"
    with site.worker(WORKER, log):
        yield log
