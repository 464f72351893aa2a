"""``python -m examples.demo``: what ``scripts/demo`` runs once its environment is there."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from examples.demo.check import CheckFailed, check_dagster
from examples.demo.dagster_api import DagsterApiError
from examples.demo.posts import BLUEPRINT, Outcome, PostsError, load_posts, run_posts
from examples.demo.processes import ProcessTreeError
from examples.demo.site import APP, Site, SiteError, choose_port
from flowcraft_dagster import FlowcraftError, Settings, load_app


def say(text: str) -> None:
    """A line of the demo's own."""
    print(text, flush=True)


def main() -> int:
    """Run the demonstration; returns the exit code."""
    options = _read_options()
    # Whatever ends the demo, it cleans up: closing the terminal, a service manager, Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="flowcraft-demo-"))
    code = 1
    try:
        code = _run(folder, options)
    except (SiteError, PostsError, CheckFailed, DagsterApiError, ProcessTreeError) as error:
        print(f"error: {error}", file=sys.stderr)
    except FlowcraftError as error:
        print(f"error: {error} {error.hint}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130 if options.check else 0
    if options.keep or (code == 1 and folder.exists()):
        say(f"Runs and logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Starts the Dagster UI and a worker, and moderates the example posts. Ctrl-C ends all of it.",
    )
    parser.add_argument("--check", action="store_true", help="look at everything without a person, end it, and exit")
    parser.add_argument("--posts", type=int, metavar="N", help="how many posts (default: all of the example's)")
    parser.add_argument("--port", type=int, help="port of the UI, 0 for a free one (default: 3000, if that is free)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with runs and logs afterwards")
    options = parser.parse_args()
    if options.posts is not None and options.posts < 1:
        parser.error("--posts must be at least 1")
    return options


def _run(folder: Path, options: argparse.Namespace) -> int:
    site = Site(folder, choose_port(options.port))
    say(f"Starting dagster dev and a worker; their logs are {site.dagster_log} and {site.worker_log}")
    try:
        began = time.monotonic()
        site.start()
        site.wait_for_worker()
        outcome = _run_posts(site, options.posts)
        say(outcome.describe())
        say("Waiting for the Dagster UI")
        site.wait_for_dagster()
        if options.check:
            say(f"ok: Dagster and the worker are up after {time.monotonic() - began:.0f} s")
            for line in check_dagster(site.api, outcome):
                say(f"ok: {line}")
            return 0
        _invite(site)
        while True:
            site.require_running()
            time.sleep(1)
    finally:
        _end(site)


def _run_posts(site: Site, count: int | None) -> Outcome:
    app = load_app(APP)
    with app.client(Settings.from_env(site.environment)) as client:
        return run_posts(client, load_posts(count))


def _invite(site: Site) -> None:
    say(
        f"\nThe Dagster UI: {site.address}\n"
        f"  the runs as an asset (after some seconds): {site.address}/assets/flowcraft/{BLUEPRINT}\n"
        f"  start one: {site.address}/locations/flowcraft_dagster/jobs/start_flowcraft_runs/playground\n"
        f"More runs, from another terminal here:\n"
        f"  export DAGSTER_HOME={site.folder} FLOWCRAFT_APP={APP}\n"
        f"  .venv/bin/flowcraft-dagster start {BLUEPRINT} --wait 10 "
        '--context \'{"userId": "me", "userPost": "Hello"}\'\n'
        "Ctrl-C ends everything.\n"
    )


def _end(site: Site) -> None:
    started = site.processes.find()
    say(f"Ending {len(started)} processes; this takes some seconds")
    killed = site.processes.end()
    if killed:
        say(f"{len(killed)} of them did not end by themselves and were killed")
    left = site.processes.find()
    if left:
        raise ProcessTreeError(f"still running: {left}")
    pids = " ".join(str(found.pid) for found in started)
    say(f"ok: all have ended ({pids}); no process in /proc carries this demo's mark {site.processes.mark}")


if __name__ == "__main__":
    sys.exit(main())
