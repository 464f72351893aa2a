"""The one error of ``scripts/stack``."""

from __future__ import annotations


class StackError(Exception):
    """Something a person can mend; the message says what and how. Printed without a traceback."""
