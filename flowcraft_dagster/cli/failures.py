"""From whatever goes wrong to one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from flowcraft_dagster.errors import (
    AppLoadError,
    BlueprintUnreadable,
    FlowcraftError,
    SettingsError,
    one_line,
)

DONE = 0
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
"""What shells report of a program that ended by Ctrl-C."""

_MISUSE = (AppLoadError, BlueprintUnreadable, SettingsError)
"""Errors about how the command was called, not about the work."""


class CommandFailed(click.ClickException):
    """A command cannot do what it was asked for.

    Args:
        reason: what is wrong, without a full stop.
        hint: what to do next, a sentence; may be empty.
    """

    exit_code = FAILED

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def run_program(program: click.Command, arguments: Sequence[str] | None) -> int:
    """Run a command line to its end.

    Returns:
        The exit code; nothing is raised.
    """
    _replace_closed_streams()
    try:
        code = program.main(
            args=None if arguments is None else list(arguments), prog_name="flowcraft-dagster", standalone_mode=False
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone, for example `... | head`; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        report("interrupted")
        return INTERRUPTED
    except click.exceptions.Exit as end:
        return end.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: people get a line, not a traceback
        if os.environ.get("FLOWCRAFT_DEBUG") == "1":
            traceback.print_exc()
        reason, hint, code = explain(error)
        report_error(reason, hint)
        return code
    return code if isinstance(code, int) else DONE


def _replace_closed_streams() -> None:
    """Whoever closed a standard stream wants nothing of it."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - likewise


def explain(error: BaseException) -> tuple[str, str, int]:
    """What is wrong, what to do, and the exit code."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "flowcraft-dagster"
        return error.format_message(), f"See '{command} --help'.", WRONG_USAGE
    if isinstance(error, CommandFailed):
        return error.message, error.hint, error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), "", error.exit_code
    if isinstance(error, FlowcraftError):
        return str(error), error.hint, WRONG_USAGE if isinstance(error, _MISUSE) else FAILED
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply", "Flatten it.", FAILED
    if isinstance(error, OSError) and error.strerror:
        # What names no file was written to a stream.
        place = f"{error.filename}: " if error.filename else "input or output: "
        return f"{place}{error.strerror.lower()}", "Check the path, its permissions and the space left.", FAILED
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {text}", "Set FLOWCRAFT_DEBUG=1 for the traceback and report it.", FAILED


def describe_error(error: BaseException) -> str:
    """What is wrong and what to do, in one line."""
    reason, hint, _ = explain(error)
    return join_sentences(reason, hint)


def join_sentences(reason: str, hint: str) -> str:
    """One line of two sentences.

    Example:
        >>> join_sentences("the file is empty", "Write something.")
        'the file is empty. Write something.'
    """
    text = one_line(" ".join(reason.split()))
    if not text.endswith((".", "!", "?")):
        text += "."
    hint = one_line(" ".join(hint.split()))
    return f"{text} {hint}" if hint else text


def report_error(reason: str, hint: str = "") -> None:
    """Write ``error: what. hint``."""
    report(f"error: {join_sentences(reason, hint)}")


def report(text: str) -> None:
    """Write a line to standard error; a closed terminal is no reason to fail."""
    try:
        click.echo(text, err=True)
    except OSError:
        return


__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "WRONG_USAGE",
    "CommandFailed",
    "describe_error",
    "explain",
    "join_sentences",
    "report",
    "report_error",
    "run_program",
]
