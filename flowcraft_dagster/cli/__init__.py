"""The command line, ``flowcraft-dagster``. Every command is imported only when it is called for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the program's name; that of this process when None.

    Returns:
        0 when done, 1 when the work failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    try:
        from flowcraft_dagster.cli.failures import run_program
        from flowcraft_dagster.cli.program import program
    except KeyboardInterrupt:
        # Nothing that could tell it better has been imported yet.
        sys.stderr.write("\ninterrupted\n")
        return 130
    return run_program(program, arguments)
