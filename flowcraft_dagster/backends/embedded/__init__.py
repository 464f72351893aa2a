"""The backend that needs no server: one SQLite file, safe for several processes."""

from __future__ import annotations

from flowcraft_dagster.backends.embedded.backend import EmbeddedBackend

__all__ = ["EmbeddedBackend"]
