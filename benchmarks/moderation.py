"""The peer's own content moderation, with the same rules in the model's place as the peer's program has.

Workers load ``benchmarks.moderation:app``; ``FLOWCRAFT_BENCH_UPSTREAM`` names the folder of the upstream blueprints.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from examples.moderation.nodes import nodes
from flowcraft_dagster import Flowcraft

VARIABLE: Final = "FLOWCRAFT_BENCH_UPSTREAM"
FOLDER: Final = "upstream-blueprints/4.content-moderation"
CONTEXT: Final = {
    "userId": "user-456",
    "userPost": "Hi, I need help with my account. My email is test@example.com and my phone is 555-123-4567.",
}

_PERSONAL = re.compile(r"@|\d{3}-\d{4}")


class StandIn:
    """Answers at once, by looking for words: what is measured is the runtime."""

    async def complete(self, prompt: str) -> str:
        """The answer to one of the prompts of the moderation blueprints."""
        if "PII) like" in prompt:
            return "true" if _PERSONAL.search(prompt) else "false"
        if "hate speech. Respond" in prompt:
            return "none"
        if "commercial spam" in prompt:
            return "false"
        if "single most appropriate action" in prompt:
            return "action_redact" if "PII Found: true" in prompt else "action_approve"
        return f"LLM({prompt[:40]})"


def make_app(folder: Path) -> Flowcraft:
    """The upstream blueprints, as they are, with the stand-in."""
    return Flowcraft(sorted(folder.glob("*.json")), nodes, dependencies={"model": StandIn()})


def __getattr__(name: str) -> Any:
    if name == "app":
        return make_app(Path(os.environ[VARIABLE]))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
