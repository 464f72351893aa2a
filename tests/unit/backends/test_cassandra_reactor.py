from __future__ import annotations

import subprocess
import sys

_WITHOUT_LIBEV = """
import sys
sys.modules["cassandra.io.libevwrapper"] = None
sys.modules["asyncore"] = None
from flowcraft_dagster.backends.cassandra import driver
from cassandra.cluster import DefaultConnection
print(DefaultConnection.__name__)
"""


def test_the_driver_can_be_imported_without_libev_and_asyncore() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_LIBEV], check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.split() == ["AsyncioConnection"]


def test_the_package_loads_no_driver_until_a_backend_is_chosen() -> None:
    program = (
        "import sys, flowcraft_dagster.backends, flowcraft_dagster.backends.kafka, "
        "flowcraft_dagster.backends.kafka.settings, flowcraft_dagster.backends.cassandra.settings, "
        "flowcraft_dagster.backends.redis.settings; "
        "print(sorted({'cassandra', 'confluent_kafka', 'redis'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "[]"
