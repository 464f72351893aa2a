"""A plugin for pytest that breaks the package as ``FLOWCRAFT_BREAK=RULE/PLACE`` says, for a whole session."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.mutation.mutating import broken
from tests.mutation.never import NEVER

VARIABLE = "FLOWCRAFT_BREAK"


def pytest_configure(config: pytest.Config) -> None:
    rule, _, place = os.environ[VARIABLE].rpartition("/")
    stack = ExitStack()
    stack.enter_context(broken(*NEVER[rule][int(place)].changes))
    config.add_cleanup(stack.close)
