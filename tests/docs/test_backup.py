"""The embedded backend is backed up and restored by the commands of the page, while a worker runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.command_line import CommandLine, await_true
from tests.docs.pages import ROOT, read_blocks

PAGE = ROOT / "docs" / "howto" / "backup.md"


def _type(block: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", block],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def _await_status(cli: CommandLine, run_id: str, status: str) -> None:
    await_true(lambda: cli("status", run_id, "--json").json["status"] == status)


def test_a_restored_copy_goes_on_from_where_it_was_made(tmp_path: Path) -> None:
    back_up, restore, *_ = read_blocks(PAGE, "sh")
    cli = CommandLine(tmp_path / ".flowcraft")
    with cli.worker() as worker:
        worker.expect(" ready: ")
        cli("start", "ask", "--run-id", "asked")
        _await_status(cli, "asked", "awaiting")
        cli("start", "chain", "--context", '{"n": 1}', "--run-id", "ended", "--wait", "60")
        before = cli("status", "ended", "--json").json
        assert (cli.home / "flowcraft.db-wal").stat().st_size > 0, "a plain copy would have been enough"
        _type(back_up, tmp_path)

        cli("resume", "asked", "w", "--action", "yes", "--output", "1")
        _await_status(cli, "asked", "completed")
        cli("start", "chain", "--run-id", "later", "--wait", "60")
    _type(restore, tmp_path)

    assert cli("status", "ended", "--json").json == before
    assert "run 'later' is not known" in cli.refuse("status", "later")
    assert cli("status", "asked", "--json").json["status"] == "awaiting"
    with cli.worker() as worker:
        worker.expect(" ready: ")
        cli("resume", "asked", "w", "--action", "no", "--output", "2")
        _await_status(cli, "asked", "completed")
        assert cli("status", "asked", "--json").json["outputs"] == {"w": 2, "no": 2}
        assert cli("start", "chain", "--context", '{"n": 5}', "--run-id", "later", "--wait", "60", "--json").json[
            "outputs"
        ]
    assert cli("doctor", "--json").json["ok"] is True


def test_what_was_running_when_the_copy_was_made_is_executed_again(tmp_path: Path) -> None:
    back_up, restore, *_ = read_blocks(PAGE, "sh")
    cli = CommandLine(tmp_path / ".flowcraft")
    gate = tmp_path / "gate"
    gate.mkdir()
    with cli.worker() as worker:
        worker.expect(" ready: ")
        cli("start", "gate", "--run-id", "gated", "--context", f'{{"folder": "{gate}"}}')
        await_true(lambda: any(gate.glob("entered-*")))
        _type(back_up, tmp_path)
        (gate / "open").touch()
        _await_status(cli, "gated", "completed")
    _type(restore, tmp_path)

    with cli.worker():
        _await_status(cli, "gated", "completed")
    assert len(list(gate.glob("entered-*"))) == 2
