"""What Dagster's own command line says about this repository, and how long definitions take to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCRAFT_", "DAGSTER_"))}
    environment = {
        **own,
        "DAGSTER_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{BIN}:{own['PATH']}",
        # One wide line a row of the tables.
        "COLUMNS": "300",
        **variables,
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("workspace", [[], ["-w", "workspace.yaml"]])
def test_both_ways_to_load_the_location_give_it_the_same_name(tmp_path: Path, workspace: list[str]) -> None:
    done = run(tmp_path / "home", "dagster", "definitions", "validate", *workspace)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation successful for code location flowcraft_dagster" in done.stdout + done.stderr


@pytest.mark.slow
def test_dg_accepts_and_lists_everything(tmp_path: Path) -> None:
    outputs = []
    for command in (("check", "defs"), ("list", "defs"), ("list", "components")):
        done = run(tmp_path / "home", "dg", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    checked, listed, components = outputs

    assert "All definitions loaded successfully." in checked
    for name in ("flowcraft/content-moderation", "start_flowcraft_runs", "flowcraft_status_sensor", "runs_succeed"):
        assert name in listed
    assert "flowcraft_dagster.FlowcraftComponent" in components


@pytest.mark.slow
def test_a_broken_app_is_named_when_the_location_is_loaded(tmp_path: Path) -> None:
    done = run(tmp_path / "home", "dagster", "definitions", "validate", FLOWCRAFT_APP="nosuch_module_at_all:app")

    assert done.returncode != 0
    text = "app 'nosuch_module_at_all:app': cannot import nosuch_module_at_all: ModuleNotFoundError"
    assert text in done.stdout + done.stderr


AWAY = {
    "FLOWCRAFT_BACKEND": "kafka",
    "KAFKA_BROKERS": "127.0.0.1:9",
    "CASSANDRA_CONTACT_POINTS": "127.0.0.1",
    "CASSANDRA_PORT": "9",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}


@pytest.mark.parametrize("variables", [{}, AWAY], ids=["embedded", "servers away"])
def test_definitions_load_within_three_seconds_beyond_dagsters_own_import(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    # Time of the processor: the machine may have other things to do. Whoever asks a server would wait for it, so
    # nobody may ask one.
    program = """
import sys, time, dagster
asked = []
sys.addaudithook(lambda event, what: asked.append(what[1:]) if event == "socket.connect" else None)
began = time.process_time()
from definitions import defs
dagster.Definitions.validate_loadable(defs)
print(time.process_time() - began)
print(sorted({"confluent_kafka", "cassandra", "redis", "sqlite3"} & set(sys.modules)), asked)
"""
    done = run(tmp_path / "home", sys.executable, "-c", program, **variables)

    seconds, asked = done.stdout.splitlines()[-2:]
    assert float(seconds) < 3.0, done.stderr
    # Dagster itself may have imported SQLite.
    assert asked in ("[] []", "['sqlite3'] []")


@pytest.mark.slow
def test_a_location_whose_servers_are_away_is_valid(tmp_path: Path) -> None:
    done = run(tmp_path / "home", "dagster", "definitions", "validate", **AWAY)

    assert done.returncode == 0, done.stdout + done.stderr


def test_definitions_are_the_same_for_every_backend(tmp_path: Path) -> None:
    program = """
from definitions import defs
repository = defs.get_repository_def()
print(sorted(repository.job_names), sorted(sensor.name for sensor in repository.sensor_defs), sorted(defs.resources),
      sorted(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()),
      sorted(str(key) for key in repository.asset_graph.asset_check_keys))
"""
    said = [
        run(tmp_path / "home", sys.executable, "-c", program, **variables).stdout.splitlines()[-1]
        for variables in ({}, AWAY)
    ]

    assert said[0] == said[1]
