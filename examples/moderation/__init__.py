"""Content moderation: posts are checked, triaged, and banned, redacted, deleted or approved.

Run it with ``flowcraft-dagster run ... --app examples.moderation:app``; see ``README.md`` in this folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.moderation.application import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    # The app reads blueprints and settings; the detectors and tools of this folder need neither.
    if name == "app":
        from examples.moderation.application import app

        globals()["app"] = app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
