"""The backend that lives in one process: for tests, scripts and simulation."""

from __future__ import annotations

from flowcraft_dagster.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
