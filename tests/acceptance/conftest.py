from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command_line import CommandLine


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A data folder with a worker."""
    cli = CommandLine(tmp_path_factory.mktemp("served") / "home")
    with cli.worker("--slot", "shared") as worker:
        worker.expect(" ready: ")
        yield cli


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """A data folder of its own, without a worker."""
    return CommandLine(tmp_path / "home")
