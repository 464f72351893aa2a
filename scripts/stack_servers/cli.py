"""The command line of ``scripts/stack``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from stack_servers.errors import StackError
from stack_servers.kinds import KINDS
from stack_servers.stack import Stack

_PROJECT = Path(__file__).resolve().parents[2]

_DESCRIPTION = """\
Real Kafka, Cassandra and Redis servers on loopback, for tests and development.

Where a Docker engine answers, the services of docker-compose.yml run; otherwise Kafka and Cassandra run
from their published jars (Java 17 and Maven) and Redis from the system's redis-server.
Output on the screen goes to standard error; what a program may read goes to standard output.
"""

_EXAMPLES = """\
examples:
  eval "$(scripts/stack up)"                  start all three and set KAFKA_BROKERS, REDIS_URL, ...
  scripts/stack up --data /tmp/b --kafka-port 0 --cassandra-port 0 --redis-port 0
                                              a second stack beside it, on free ports
  scripts/stack status --json
  scripts/stack kill kafka && scripts/stack start kafka
  scripts/stack down --delete                 end all servers and delete their data
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; that of this process by default.

    Returns:
        0 when done; 1 when a server failed or, for ``status``, does not answer; 2 for wrong usage.
    """
    options = _parser().parse_args(arguments)
    data = Path(options.data or os.environ.get("FLOWCRAFT_STACK_DATA") or _PROJECT / ".stack")
    stack = Stack(data, _report, timeout_seconds=getattr(options, "timeout", 180.0))
    try:
        return _run(stack, options)
    except StackError as error:
        _report(f"error: {error}")
        return 1
    except OSError as error:
        _report(f"error: {error}; the data folder is {data}, choose another one with --data")
        return 1
    except KeyboardInterrupt:
        _report("interrupted")
        return 130


def _run(stack: Stack, options: argparse.Namespace) -> int:
    command = options.command
    if command == "up":
        stack.up({name: getattr(options, f"{name}_port") for name in options.servers}, docker=not options.local)
    elif command == "down":
        stack.down(delete=options.delete)
    elif command == "start":
        stack.start(options.server)
    elif command == "restart":
        stack.restart(options.server)
    elif command in ("stop", "kill"):
        stack.stop(options.server, at_once=command == "kill")
    if command == "status" or (command == "up" and options.json):
        return _show_status(stack, as_json=options.json)
    if command in ("up", "env"):
        for name, value in stack.environment().items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _show_status(stack: Stack, *, as_json: bool) -> int:
    servers = stack.status()
    if as_json:
        shown = {server.name: asdict(server) for server in servers}
        print(json.dumps({"data": str(stack.data), "servers": shown, "environment": stack.environment()}, indent=2))
    elif not servers:
        print("no servers; start them with: scripts/stack up")
    else:
        print(f"{'server':<10} {'mode':<8} {'port':>5} {'pid':>8}  state")
        for server in servers:
            state = "answers" if server.healthy else "does not answer" if server.running else "stopped"
            print(f"{server.name:<10} {server.mode:<8} {server.port:>5} {server.pid or '-':>8}  {state}")
    return 0 if servers and all(server.healthy for server in servers) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/stack",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(parser, default=None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    # Given before or after the command; without SUPPRESS the second one would reset the first.
    _add_data(shared, default=argparse.SUPPRESS)

    up = commands.add_parser("up", parents=[shared], help="start servers, wait until they answer, print variables")
    up.add_argument(
        "--with",
        dest="servers",
        type=_server_list,
        default=list(KINDS),
        metavar="LIST",
        help=f"some of {','.join(KINDS)}",
    )
    for kind in KINDS.values():
        up.add_argument(f"--{kind.name}-port", type=_port, metavar="N", help=f"0 = any; usually {kind.default_port}")
    up.add_argument("--local", action="store_true", help="as plain processes, even where Docker runs")
    up.add_argument("--timeout", type=float, default=180.0, metavar="SECONDS", help="for a server to answer")
    up.add_argument("--json", action="store_true", help="print the status as JSON instead of variables")

    down = commands.add_parser("down", parents=[shared], help="end all servers of this stack")
    down.add_argument("--delete", action="store_true", help="and delete their data")

    status = commands.add_parser("status", parents=[shared], help="show ports and health; 1 when one does not answer")
    status.add_argument("--json", action="store_true", help="as JSON, for programs")

    commands.add_parser("env", parents=[shared], help="print the variables for clients")
    for name, text in (
        ("start", "start servers again and wait until they answer"),
        ("stop", "stop servers (SIGTERM)"),
        ("restart", "stop and start servers"),
        ("kill", "end servers at once (SIGKILL), as a crash would"),
    ):
        command = commands.add_parser(name, parents=[shared], help=text)
        command.add_argument("server", nargs="+", choices=list(KINDS), metavar="SERVER")
    return parser


def _add_data(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    parser.add_argument(
        "--data",
        default=default,
        metavar="DIR",
        help="the stack's folder; usually FLOWCRAFT_STACK_DATA, else .stack in the project",
    )


def _server_list(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(KINDS))
    if unknown or not names:
        message = f"{', '.join(unknown) or 'nothing'} given, known are {', '.join(KINDS)}"
        raise argparse.ArgumentTypeError(message)
    return names


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        message = f"{text} is no port (0 to 65535)"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _report(line: str) -> None:
    sys.stderr.write(f"stack: {line}\n")
    sys.stderr.flush()
