"""The TypeScript peer: installed into a folder of its own, started, measured, ended.

The peer's programs expect Kafka on 9092, Cassandra on 9042 and Redis on 6379 of the loopback interface.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOIN_SECONDS = 9.0


def install_peer(shared: Path, folder: Path) -> Path:
    """Copy the peer and its blueprints, and install its packages.

    Args:
        shared: folder that has ``peer`` and ``data``.
        folder: an empty folder that may be written to.

    Returns:
        The folder of the peer's programs.
    """
    shutil.copytree(shared / "data", folder / "data")
    shutil.copytree(shared / "peer", folder / "peer")
    subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--silent"], cwd=folder / "peer", check=True)
    return folder / "peer"


@contextmanager
def run_peer_workers(programs: Path, topic: str, workers: int) -> Iterator[None]:
    """Worker processes of the peer on a topic of their own, joined before this yields."""
    env = os.environ | {"TOPIC": topic}
    subprocess.run(["node", "schema.mjs"], cwd=programs, env=env, check=True, stdout=subprocess.DEVNULL)
    processes = [
        subprocess.Popen(["node", "worker.mjs"], cwd=programs, env=env, stdout=subprocess.DEVNULL)
        for _ in range(workers)
    ]
    try:
        # The peer says nothing when it has joined its group, and drops jobs that were produced before.
        time.sleep(JOIN_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_peer(programs: Path, topic: str, blueprint: str, runs: int, timeout: int) -> dict[str, float]:
    """Start runs with the peer's client and wait for them; it polls every 50 ms.

    Returns:
        ``runs_per_s`` by the time from the first submission to the last result, and ``pending`` runs.
    """
    done = subprocess.run(
        ["node", "client.mjs", blueprint, str(runs), "yes", str(timeout)],
        cwd=programs,
        env=os.environ | {"TOPIC": topic},
        check=True,
        capture_output=True,
        text=True,
        timeout=timeout + 120,
    )
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = figures["submit_s"] + figures["run_s"]
    ended = runs - figures["pending"]
    return {"runs_per_s": ended / seconds, "seconds": seconds, "pending": figures["pending"]}
