"""The app of the browser tests: with the blueprints of the TypeScript project, where they lie beside this checkout."""

from __future__ import annotations

from tests.browser.site_app import build_app
from tests.examples.conftest import UPSTREAM

AMOUNTS = "700"
"""A number, as the ids of the upstream blueprints are, but none of them."""

app = build_app(AMOUNTS, sorted(UPSTREAM.iterdir()) if UPSTREAM.is_dir() else ())
