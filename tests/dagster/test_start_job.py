"""The Launchpad's job: it starts runs, follows them, and repeats nothing."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flowcraft_dagster.orchestration.following import choose_run_id
from flowcraft_dagster.orchestration.labels import RECORDER_TAG
from flowcraft_dagster.orchestration.start_job import StartFlowcraftRunsConfig
from flowcraft_dagster.ports.records import RunQuery
from tests.dagster.conftest import Site, WorkerThread
from tests.dagster.sample_app import SUM

JOB = "start_flowcraft_runs"
OP = "start_flowcraft_runs_op"


def launch(site: Site, **config: Any) -> Any:
    return site.run_job(JOB, {"ops": {OP: {"config": config}}})


def failure_of(result: Any) -> str:
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = event.event_specific_data
    text: str = data.user_failure_data.description if data.user_failure_data else str(data.error)
    return text


@pytest.mark.parametrize("blueprint_id", [400, "400"])
def test_a_number_and_its_text_launch_the_same_blueprint(site: Site, worker: WorkerThread, blueprint_id: Any) -> None:
    result = launch(site, blueprint_id=blueprint_id, context={"n": 5})

    assert result.success
    (run_id,) = result.output_for_node(OP)
    assert run_id == result.run_id
    assert site.client.result(run_id).outputs == {"step1": 10, "step2": 20}


@pytest.mark.parametrize("other", [400, "400"])
def test_a_blueprint_that_is_not_in_the_list_is_named_beside_it(site: Site, worker: WorkerThread, other: Any) -> None:
    result = launch(site, blueprint_id_other=other, context={"n": 5})

    assert site.client.result(result.run_id).blueprint_id == "400"


def test_the_offered_config_launches_as_it_is(site: Site, worker: WorkerThread) -> None:
    result = site.run_job(JOB)

    assert result.success
    assert site.client.status(result.run_id).blueprint_id == "parent"


def test_the_run_is_materialized_with_its_result_and_picture(site: Site, worker: WorkerThread) -> None:
    result = launch(site, blueprint_id="400", context={"n": 5})

    (record,) = site.instance.fetch_materializations(site.catalogue.entries["400"].key, limit=5).records
    assert record.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    assert metadata["run_id"].value == result.run_id
    # What an operator looks for first comes first.
    assert list(metadata)[:5] == ["run_id", "status", "seconds", "outputs", "picture"]
    assert metadata["outputs"].value == {"step1": 10, "step2": 20}
    assert (metadata["runs"].value, metadata["completed"].value, metadata["failed"].value) == (1, 1, 0)
    assert str(metadata["picture"].value).startswith("![")


def test_a_typed_config_launches_too(site: Site, worker: WorkerThread) -> None:
    config = StartFlowcraftRunsConfig(blueprint_id=SUM, context={"n": 4})
    result = site.run_job(JOB, dg.RunConfig(ops={OP: config}))

    assert site.client.result(result.run_id).outputs == {"step1": 8}


def test_a_failed_run_fails_the_step_and_names_node_and_error(site: Site, worker: WorkerThread) -> None:
    result = launch(site, blueprint_id="fails", context={"n": 5})

    assert not result.success
    assert "node 'step1': ValueError: cannot read 5" in failure_of(result)
    assert not site.instance.fetch_materializations(site.catalogue.entries["fails"].key, limit=5).records


def test_without_waiting_the_step_ends_at_once(site: Site) -> None:
    result = launch(site, blueprint_id="400", context={"n": 5}, wait=False)

    assert result.success
    header = site.client.status(result.run_id)
    assert header.status == "running"
    # Left to the status sensor.
    assert RECORDER_TAG not in header.tags


def test_a_run_that_takes_too_long_goes_on(site: Site) -> None:
    result = launch(site, blueprint_id="400", context={"n": 5}, timeout_seconds=0.05)

    assert "is still running after 0.05 s" in failure_of(result)
    assert site.client.status(result.run_id).status == "running"


def test_a_repeated_step_starts_nothing_twice(site: Site, worker: WorkerThread) -> None:
    first = launch(site, blueprint_id="400", context={"n": 5}, run_id="mine")
    again = launch(site, blueprint_id="400", context={"n": 5}, run_id="mine")

    assert first.output_for_node(OP) == again.output_for_node(OP) == ["mine"]
    assert len(site.client.runs(RunQuery(blueprint_id="400"))) == 1
    # The second event shows the run, but does not count it again.
    records = site.instance.fetch_materializations(site.catalogue.entries["400"].key, limit=5).records
    assert (
        sum("runs" in record.asset_materialization.metadata for record in records if record.asset_materialization) == 1
    )


def test_a_batch_from_a_list_and_a_file(site: Site, worker: WorkerThread, tmp_path: Path) -> None:
    file = tmp_path / "contexts.jsonl"
    file.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(3)) + "\n")
    result = launch(site, blueprint_id="400", contexts=[{"n": 10}], contexts_file=str(file))

    assert result.success
    run_ids = result.output_for_node(OP)
    assert [site.client.result(run_id).outputs["step2"] for run_id in run_ids] == [40, 0, 4, 8]
    assert run_ids[0] == f"{result.run_id}-0"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"blueprint_id": "nosuch"}, "blueprint 'nosuch' is not known here. Known: "),
        ({"blueprint_id": "400", "blueprint_id_other": "nosuch"}, "blueprint 'nosuch' is not known here"),
        ({"blueprint_id": "400", "run_id": "a\nb"}, "run_id"),
        ({"blueprint_id": "400", "contexts_file": "/nosuch.jsonl"}, "contexts_file '/nosuch.jsonl' cannot be read"),
    ],
)
def test_what_cannot_be_started_fails_the_step_in_one_line(site: Site, config: dict[str, Any], message: str) -> None:
    assert message in failure_of(launch(site, **config))


@pytest.mark.parametrize(("line", "reason"), [("{", "line 2: is not JSON"), ("[1]", "line 2: is not a JSON object")])
def test_a_bad_line_of_a_batch_starts_nothing(site: Site, tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "contexts.jsonl"
    file.write_text(f'{{"n": 1}}\n{line}\n')

    assert reason in failure_of(launch(site, blueprint_id="400", contexts_file=str(file)))
    assert site.client.runs() == ()


@pytest.mark.parametrize("cancel", [True, False])
def test_an_interrupted_step_cancels_or_keeps_its_workflow(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch, cancel: bool
) -> None:
    client = site.client
    wait = client.wait

    def interrupted(run_id: str, timeout: float = 60.0) -> Any:
        monkeypatch.setattr(client, "wait", wait)
        # What Dagster raises in a waiting step when its run is cancelled; a BaseException.
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(client, "wait", interrupted)
    result = launch(site, blueprint_id="lingers", context={"n": 1}, timeout_seconds=20.0, cancel_workflow=cancel)

    assert not result.success
    # Dagster repeats a cancelled step that has a retry policy.
    assert "STEP_UP_FOR_RETRY" not in [event.event_type_value for event in result.all_events]

    (header,) = client.runs()
    if cancel:
        assert client.wait(header.run_id, 20).status == "cancelled"
    else:
        assert client.status(header.run_id).status == "running"
        client.cancel(header.run_id)
        client.wait(header.run_id, 20)


def test_an_interrupted_batch_cancels_what_was_started_by_then(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.client
    start_many = client.start_many

    def interrupted(requests: Any) -> list[str]:
        start_many(requests)
        # Before the step has heard of it.
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(client, "start_many", interrupted)
    assert not launch(site, blueprint_id="lingers", contexts=[{"n": n} for n in range(3)]).success

    headers = client.runs()
    assert len(headers) == 3
    assert {client.wait(header.run_id, 20).status for header in headers} == {"cancelled"}


def test_a_start_that_is_stored_after_the_interruption_is_cancelled_too(
    site: Site, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.client
    start = client.start
    late: list[Any] = []

    def interrupted(*arguments: Any, **named: Any) -> str:
        late.append(lambda: start(*arguments, **named))
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(client, "start", interrupted)
    sleep, own = time.sleep, threading.get_ident()

    def start_late(seconds: float) -> None:
        # Threads of the drivers sleep, too.
        if late and threading.get_ident() == own:
            late.pop()()
        else:
            sleep(seconds)

    monkeypatch.setattr("flowcraft_dagster.orchestration.following.time.sleep", start_late)
    assert not launch(site, blueprint_id="lingers", context={"n": 1}).success

    (header,) = client.runs()
    assert client.wait(header.run_id, 20).status == "cancelled"


@dataclass
class KnownRuns:
    """What is asked of an instance about earlier runs."""

    statuses: dict[str, dg.DagsterRunStatus]

    def get_run_by_id(self, run_id: str) -> dg.DagsterRun | None:
        status = self.statuses.get(run_id)
        return None if status is None else dg.DagsterRun(job_name=JOB, run_id=run_id, status=status)


@pytest.mark.parametrize(
    ("blueprint_id", "dagster_status", "takes_up"),
    [
        ("400", dg.DagsterRunStatus.FAILURE, True),
        ("fails", dg.DagsterRunStatus.FAILURE, False),
        ("400", dg.DagsterRunStatus.SUCCESS, False),
    ],
)
def test_a_repeated_dagster_run_takes_up_a_workflow_that_did_not_fail(
    site: Site, worker: WorkerThread, blueprint_id: str, dagster_status: dg.DagsterRunStatus, takes_up: bool
) -> None:
    site.client.start(blueprint_id, {"n": 1}, run_id="first")
    site.client.wait("first", 20)
    instance: Any = KnownRuns({"first": dagster_status})
    run = dg.DagsterRun(job_name=JOB, run_id="second", parent_run_id="first", root_run_id="first")

    assert choose_run_id(instance, run, site.client) == ("first" if takes_up else "second")
