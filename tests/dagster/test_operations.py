"""Operator's jobs: answer, cancel, replay, drain."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft_dagster.ports.records import DeadLetter
from flowcraft_dagster.runtime.requests import LETTER_SOURCE
from flowcraft_dagster.runtime.start_request import StartRequest, decode_request
from tests.dagster.conftest import Site, WorkerThread


def act(site: Site, job: str, op: str, **config: Any) -> Any:
    return site.run_job(job, {"ops": {op: {"config": config}}})


def resume(site: Site, **config: Any) -> Any:
    return act(site, "resume_flowcraft_run", "resume_flowcraft_run_op", **config)


def cancel(site: Site, **config: Any) -> Any:
    return act(site, "cancel_flowcraft_runs", "cancel_flowcraft_runs_op", **config)


def retry(site: Site, **config: Any) -> Any:
    return act(site, "retry_flowcraft_runs", "retry_flowcraft_runs_op", **config)


def replay(site: Site, **config: Any) -> Any:
    return act(site, "replay_dead_letters", "replay_dead_letters_op", **config)


@pytest.mark.parametrize("output", [21, {"a": [1, None]}, None, "text"])
def test_an_answer_becomes_the_nodes_output(site: Site, worker: WorkerThread, output: Any) -> None:
    run_id = site.client.start("waits", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    assert resume(site, run_id=run_id, node="step1", output=output).success

    result = site.client.wait(run_id, 20)
    assert result.outputs["step1"] == output
    if output == 21:
        assert result.outputs["step2"] == 42


def test_an_answer_carries_an_action_and_may_have_no_output(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("waits", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    assert resume(site, run_id=run_id, node="step1", action="approved", has_output=False).success

    result = site.client.wait(run_id, 20)
    assert "step1" not in result.outputs
    assert [timing.action for timing in result.timings if timing.activation == "step1"] == ["approved"]


def test_a_repeated_answer_of_the_same_dagster_run_is_one_answer(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("asks in a sub-flow", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    job = site.definitions.resolve_job_def("resume_flowcraft_run")
    config = {"ops": {"resume_flowcraft_run_op": {"config": {"run_id": run_id, "node": "ask/step1", "output": 4}}}}
    dagster_run_id = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    first = job.execute_in_process(instance=site.instance, run_config=config, run_id=dagster_run_id)
    other = resume(site, run_id=run_id, node="ask/step1", output=5)

    assert first.success
    assert not other.success
    assert site.client.wait(run_id, 20).outputs["ask"] == 8


def test_an_answer_to_nothing_fails_with_what_waits(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("waits", {"n": 1})
    site.client.wait_for_pause(run_id, 20)
    result = resume(site, run_id=run_id, node="step2", output=1)

    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    text = event.event_specific_data.user_failure_data.description
    assert "node 'step2' does not wait" in text
    assert "Waiting now: step1" in text


def test_runs_are_cancelled_by_id_and_by_blueprint(site: Site, worker: WorkerThread) -> None:
    first, second, other = (site.client.start(name, {"n": 1}) for name in ("lingers", "lingers", "waits"))
    ended = site.client.start("400", {"n": 1})
    site.client.wait(ended, 20)
    result = cancel(site, run_ids=[other, ended], blueprint_id="lingers", reason="enough")

    assert result.success
    for run_id in (first, second, other):
        found = site.client.wait(run_id, 20)
        assert (found.status, found.reason) == ("cancelled", "enough")
    assert site.client.status(ended).status == "completed"


def test_unknown_runs_are_named_and_the_others_cancelled(site: Site, worker: WorkerThread) -> None:
    run_id = site.client.start("lingers", {"n": 1})

    assert not cancel(site, run_ids=["nosuch", run_id]).success
    assert site.client.wait(run_id, 20).status == "cancelled"


def test_failed_runs_go_on_as_new_runs_and_only_once(site: Site, worker: WorkerThread) -> None:
    failed = site.client.start("fails", {"n": 1}, run_id="broken")
    completed = site.client.start("400", {"n": 1}, run_id="fine")
    for run_id in (failed, completed):
        site.client.wait(run_id, 20)
    first, again = (retry(site, blueprint_id="fails") for _ in range(2))

    assert first.success
    (event,) = [event for event in first.all_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = event.event_specific_data.metadata
    assert [record.data["run"] for record in metadata["runs"].records] == ["broken"]
    # Nothing to click on where nothing was refused.
    assert "refused" not in metadata
    (new_id,) = first.output_for_node("retry_flowcraft_runs_op")
    # The new run has failed by now, and goes on as a third one; the first is not gone on with twice.
    assert new_id in again.output_for_node("retry_flowcraft_runs_op")
    assert site.client.wait(new_id, 20).retry_of == "broken"
    assert not retry(site, run_ids=[completed]).success


def test_a_dead_letter_goes_back_to_the_queue_it_came_from(site: Site) -> None:
    backend, call = site.connection.backend, site.connection.call
    for name, source, value in [
        ("job", "3/17", b'{"runId": "r"}'),
        ("request", f"{LETTER_SOURCE}topic/0/4", b'{"blueprintId": "400"}'),
    ]:
        call(backend.dead_letters.add_letter(DeadLetter(name, b"r", value, {}, source, "because", 1.0)))

    assert replay(site).success
    assert call(backend.dead_letters.list_letters(10)) == ()
    assert call(backend.jobs.measure_lag()) == 1
    (found,) = call(backend.requests.find_ranges({}, None, 10))
    (request,) = call(backend.requests.read_requests(found))
    # With a run id made of its first place, so that replaying it twice starts one run.
    assert decode_request(request.value) == StartRequest("400", {}, "request")


def test_an_unknown_dead_letter_is_named(site: Site) -> None:
    assert not replay(site, letter_ids=["nosuch"]).success


def test_the_drain_job_is_a_worker_for_a_while(site: Site) -> None:
    run_id = site.client.start("400", {"n": 1})
    result = act(site, "flowcraft_drain_job", "flowcraft_drain_op", max_seconds=30.0, idle_seconds=0.2)

    assert result.success
    assert site.client.status(run_id).status == "completed"
