"""What the tests of the examples share."""

from __future__ import annotations

from pathlib import Path

import pytest

UPSTREAM = Path(__file__).resolve().parents[3] / "shared" / "data" / "upstream-blueprints"


@pytest.fixture(scope="session")
def upstream_folders() -> list[Path]:
    """The folders of the TypeScript project's example blueprints, kept beside the repository and not in it."""
    if not UPSTREAM.is_dir():
        pytest.skip("the upstream blueprints do not lie beside this checkout")
    return sorted(path for path in UPSTREAM.iterdir() if path.is_dir())
