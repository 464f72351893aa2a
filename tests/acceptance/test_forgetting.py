"""Old finished runs go, by command or by themselves."""

from __future__ import annotations

from tests.acceptance.command_line import CommandLine, await_true


def test_forgetting_by_command_leaves_live_runs_and_what_they_need(alone: CommandLine) -> None:
    with alone.worker() as worker:
        worker.expect(" ready: ")
        alone("start", "chain", "--context", '{"n": 1}', "--run-id", "old", "--wait", "60")
        alone("start", "ask", "--run-id", "live")
        assert alone("forget", "--older-than-days", "1").out == "deleted 0 finished runs\n"
        assert alone("forget", "--older-than-days", "0", "--json").json == {"deleted": 1, "kept": 0}
        assert "run 'old' is not known" in alone.refuse("status", "old")
        assert [run["runId"] for run in alone("runs", "--json").json] == ["live"]
        # The id is free again: it names a new run.
        alone("start", "chain", "--context", '{"n": 2}', "--run-id", "old", "--wait", "60")
    assert "is no number of days" in alone.refuse("forget", "--older-than-days", "-1", code=2)
    assert "Missing option" in alone.refuse("forget", code=2)


def test_workers_forget_by_themselves_when_told_to(alone: CommandLine) -> None:
    assert "setting FLOWCRAFT_RETENTION_DAYS: 'never' is not a number" in alone.refuse(
        "worker", "--app", "tests.acceptance.sample_app:app", code=2, FLOWCRAFT_RETENTION_DAYS="never"
    )
    with alone.worker(FLOWCRAFT_RETENTION_DAYS="0.00003") as worker:
        worker.expect(" ready: ")
        alone("start", "ask", "--run-id", "live")
        alone("start", "chain", "--context", '{"n": 1}', "--run-id", "old", "--wait", "60")
        await_true(lambda: [run["runId"] for run in alone("runs", "--json").json] == ["live"])
        worker.expect("forgot 1 finished runs")
