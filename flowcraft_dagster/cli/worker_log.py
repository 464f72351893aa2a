"""Log lines of long-running commands: one line each, and a traceback only when somebody debugs."""

from __future__ import annotations

import logging
import os
import sys

from flowcraft_dagster.errors import SettingsError, one_line

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class LineFormatter(logging.Formatter):
    """``2025-01-31 09:30:00,123 WARNING message``; an exception is named at the end of its line."""

    def __init__(self, *, with_tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._with_tracebacks = with_tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """One line, unless tracebacks are wanted."""
        if self._with_tracebacks:
            return super().format(record)
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        text = one_line(" ".join(self.formatMessage(record).split()))
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text += one_line(f" ({type(error).__name__}: {' '.join(str(error).split())})")
        return text


def start_logging() -> None:
    """Send log lines to standard error, from ``FLOWCRAFT_LOG_LEVEL`` (default INFO) on.

    Raises:
        SettingsError: there is no such level.
    """
    level = (os.environ.get("FLOWCRAFT_LOG_LEVEL") or "INFO").upper()
    if level not in LEVELS:
        raise SettingsError(f"'{level}' is none of {', '.join(LEVELS)}", name="FLOWCRAFT_LOG_LEVEL")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(with_tracebacks=os.environ.get("FLOWCRAFT_DEBUG") == "1"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("WARNING")
    logging.getLogger("flowcraft_dagster").setLevel(level)
