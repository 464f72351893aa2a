from __future__ import annotations

import subprocess
import sys

_WITHOUT_LIBEV = """
import sys
sys.modules["cassandra.io.libevwrapper"] = None
from flowcraft_dagster.backends.cassandra import driver
from cassandra.cluster import DefaultConnection
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings
from flowcraft_dagster.errors import SettingsError
try:
    driver.connect_cluster(CassandraSettings(tls=True))
except SettingsError as error:
    refused = "libev" in str(error)
print(driver.REACTOR, DefaultConnection.__name__, refused)
"""


def test_without_libev_the_asyncio_reactor_steps_in() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_LIBEV], check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.split() == ["asyncio", "AsyncioConnection", "True"]


def test_the_package_loads_no_driver_until_a_backend_is_chosen() -> None:
    program = (
        "import sys, flowcraft_dagster.backends, flowcraft_dagster.backends.kafka, "
        "flowcraft_dagster.backends.kafka.settings, flowcraft_dagster.backends.cassandra.settings, "
        "flowcraft_dagster.backends.redis.settings; "
        "print(sorted({'cassandra', 'confluent_kafka', 'redis'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "[]"
